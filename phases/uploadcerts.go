package phases

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	tokenutil "k8s.io/cluster-bootstrap/token/util"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/hint"
	"boot.internal/templates"
)

// An uploadCerts stores what a joining control plane needs of the PKI in the
// Secret kubeadm-certs, encrypted with a key that is told to people only. The
// Secret belongs to a bootstrap token and goes with it after two hours.
type uploadCerts struct {
	api apiServer
	key config.Secret // AES-256, in hexadecimal
	// files are what is uploaded, by the names kubeadm gives it in the Secret.
	files map[string]string
}

// certsLife is how long the Secret stays.
const certsLife = 2 * time.Hour

// sharedFiles are the parts of the PKI that all control planes share.
func sharedFiles(tree certs.Paths, external *config.ExternalEtcd) map[string]string {
	files := map[string]string{
		"ca.crt": tree.CA.Cert, "ca.key": tree.CA.Key,
		"front-proxy-ca.crt": tree.FrontProxyCA.Cert, "front-proxy-ca.key": tree.FrontProxyCA.Key,
		"sa.pub": tree.SA.Cert, "sa.key": tree.SA.Key,
	}
	if external == nil {
		maps.Copy(files, map[string]string{"etcd-ca.crt": tree.EtcdCA.Cert, "etcd-ca.key": tree.EtcdCA.Key})
	} else {
		maps.Copy(files, map[string]string{
			"external-etcd-ca.crt": external.CAFile, "external-etcd.crt": external.CertFile, "external-etcd.key": external.KeyFile,
		})
	}
	return files
}

// crossFiles are what vouches for authorities that took the place of others, beside
// the files of these. The names in the Secret are boot's own; who does not know them
// passes over them.
func crossFiles(files map[string]string) map[string]string {
	crosses := map[string]string{}
	for _, name := range []string{"ca", "front-proxy-ca", "etcd-ca"} {
		if path, is := files[name+".crt"]; is {
			crosses[name+"-cross.crt"] = certs.Pair{Cert: path}.CrossPath()
		}
	}
	return crosses
}

// Plan implements Phase.
func (p uploadCerts) Plan(ctx context.Context) ([]Change, error) {
	key, err := hex.DecodeString(p.key.Reveal())
	if err != nil || len(key) != 32 {
		return nil, hint.With(errors.New("the certificate key is not 32 bytes in hexadecimal"), "make one with: openssl rand -hex 32")
	}
	sealer, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	want, err := p.read()
	if err != nil {
		return nil, err
	}
	stored, err := p.stored(ctx, sealer, want)
	if err != nil {
		return nil, err
	}
	rules, err := p.api.planObjects(ctx, certsRules()...)
	if err != nil || stored {
		return rules, err
	}
	upload := Change{
		Desc:  "create Secret " + metav1.NamespaceSystem + "/" + certsName + " and the bootstrap token it expires with",
		Apply: func(ctx context.Context) error { return p.upload(ctx, sealer) },
	}
	return append([]Change{upload}, rules...), nil
}

// read reads the files. One that is missing is uploaded empty, as kubeadm
// expects it of an external CA's key.
func (p uploadCerts) read() (map[string][]byte, error) {
	content := map[string][]byte{}
	for name, path := range p.files {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		content[name] = data
	}
	for name, path := range crossFiles(p.files) {
		data, err := os.ReadFile(path)
		if err == nil {
			content[name] = data
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return content, nil
}

// stored says whether the Secret opens with the key, holds want and is there
// to stay for a while.
func (p uploadCerts) stored(ctx context.Context, sealer cipher.AEAD, want map[string][]byte) (bool, error) {
	live, err := p.api.get(ctx, certsSecret(nil, nil))
	if live == nil || err != nil {
		return false, err
	}
	have, err := toSecret(live)
	if err != nil {
		return false, err
	}
	return maps.EqualFunc(have.Data, want, func(sealed, plain []byte) bool {
		if len(sealed) == 0 || len(plain) == 0 {
			return len(sealed) == len(plain)
		}
		opened, err := unseal(sealer, sealed)
		return err == nil && bytes.Equal(opened, plain)
	}), nil
}

func (p uploadCerts) upload(ctx context.Context, sealer cipher.AEAD) error {
	plain, err := p.read()
	if err != nil {
		return err
	}
	sealed := map[string][]byte{}
	for name, data := range plain {
		sealed[name] = nil
		if len(data) > 0 {
			sealed[name] = seal(sealer, data)
		}
	}
	owner, err := p.createOwner(ctx)
	if err != nil {
		return fmt.Errorf("create the bootstrap token: %w", err)
	}
	return p.api.apply(ctx, certsSecret(sealed, owner))
}

// createOwner makes a token that is good for nothing but to end in time: no
// usage, no group.
func (p uploadCerts) createOwner(ctx context.Context) (*metav1.OwnerReference, error) {
	token, err := tokenutil.GenerateBootstrapToken()
	if err != nil {
		return nil, err
	}
	obj, err := templates.BootstrapToken(config.BootstrapToken{
		Token:       config.Secret(token),
		Description: "Proxy for managing TTL for the kubeadm-certs secret",
		TTL:         &metav1.Duration{Duration: certsLife},
	}, time.Now())
	if err != nil {
		return nil, err
	}
	if err := p.api.apply(ctx, obj); err != nil {
		return nil, err
	}
	live, err := p.api.get(ctx, obj)
	if err != nil {
		return nil, err
	}
	if live == nil {
		return nil, fmt.Errorf("%s went as soon as it was made", describe(obj))
	}
	return metav1.NewControllerRef(live, obj.GroupVersionKind()), nil
}

// The format is kubeadm's: AES-GCM, with the nonce before the text.

func newSealer(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func seal(sealer cipher.AEAD, plain []byte) []byte {
	nonce := make([]byte, sealer.NonceSize())
	_, _ = rand.Read(nonce) // never returns an error
	return sealer.Seal(nonce, nonce, plain, nil)
}

func unseal(sealer cipher.AEAD, sealed []byte) ([]byte, error) {
	if len(sealed) < sealer.NonceSize() {
		return nil, errors.New("shorter than a nonce")
	}
	nonce, text := sealed[:sealer.NonceSize()], sealed[sealer.NonceSize():]
	return sealer.Open(nil, nonce, text, nil)
}
