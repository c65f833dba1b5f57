package phases

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"boot.internal/atomicfile"
	"boot.internal/config"
	"boot.internal/discovery"
	"boot.internal/hint"
)

// uploadAgain is how certificates come into the cluster.
const uploadAgain = "run 'boot init phase upload-certs --upload-certs' on a control plane for new ones and their key; they stay for two hours"

// A downloadCerts gives a joining control plane the authorities that all of them
// share: those that are placed by hand stay, the others come out of the Secret
// kubeadm-certs, which the key opens.
type downloadCerts struct {
	api   apiServer         // as the bearer of a bootstrap token
	key   config.Secret     // AES-256, in hexadecimal; empty if all is placed by hand
	files map[string]string // as of [uploadCerts]
	ca    []byte            // the cluster's authority, as it was found; nil if it is not known
}

// Plan implements Phase.
func (p downloadCerts) Plan(context.Context) ([]Change, error) {
	missing, err := p.missing()
	if err != nil {
		return nil, err
	}
	if err := p.sameCluster(); err != nil {
		return nil, err
	}
	switch {
	case len(missing) == 0:
		return nil, nil
	case p.key == "":
		return nil, hint.With(fmt.Errorf("%s: %w", p.files[missing[0]], fs.ErrNotExist),
			"give --certificate-key, or copy these from another control plane: "+strings.Join(p.paths(missing), ", "))
	}
	key, err := p.aes()
	if err != nil {
		return nil, err
	}
	return []Change{{
		"write " + strings.Join(p.paths(missing), ", ") + " from Secret kube-system/" + certsName,
		func(ctx context.Context) error { return p.download(ctx, key, missing) },
	}}, nil
}

// missing returns the names of the files to get, a key before its certificate. The
// key of an authority may be kept somewhere else: where the certificate is, it was
// placed, or downloaded, as it is meant to be.
func (p downloadCerts) missing() ([]string, error) {
	there := map[string]bool{}
	for name, path := range p.files {
		_, err := os.Stat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		there[name] = err == nil
	}
	return slices.DeleteFunc(slices.SortedFunc(maps.Keys(p.files), keysFirst), func(name string) bool {
		authority, isKey := strings.CutSuffix(name, "ca.key")
		return there[name] || isKey && there[authority+"ca.crt"]
	}), nil
}

// keysFirst has the key come before what goes with it, so that whoever finds a
// certificate finds its key.
func keysFirst(a, b string) int {
	rank := func(name string) int {
		if strings.HasSuffix(name, ".key") {
			return 0
		}
		return 1
	}
	if d := rank(a) - rank(b); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}

func (p downloadCerts) paths(names []string) []string {
	var paths []string
	for _, name := range names {
		paths = append(paths, p.files[name])
	}
	return paths
}

func (p downloadCerts) aes() ([]byte, error) {
	key, err := hex.DecodeString(p.key.Reveal())
	if err != nil || len(key) != 32 {
		return nil, hint.With(errors.New("the certificate key is not 32 bytes in hexadecimal"), "it is what 'boot init --upload-certs' has printed; "+uploadAgain)
	}
	return key, nil
}

// sameCluster compares the authority that is there with that of the cluster.
func (p downloadCerts) sameCluster() error {
	path := p.files["ca.crt"]
	have, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || p.ca == nil {
		return nil
	}
	if err != nil {
		return err
	}
	if !discovery.SameAuthority(have, p.ca) {
		return hint.With(fmt.Errorf("%s is the authority of another cluster", path), "run 'boot reset' to begin anew, or put the right one there")
	}
	return nil
}

func (p downloadCerts) download(ctx context.Context, key []byte, missing []string) error {
	secret, err := p.read(ctx)
	if err != nil {
		return err
	}
	plain, err := p.open(secret, key)
	if err != nil {
		return err
	}
	if ca := plain["ca.crt"]; p.ca != nil && !discovery.SameAuthority(ca, p.ca) {
		return hint.With(errors.New("the certificates in Secret kube-system/"+certsName+" are of another cluster"), uploadAgain)
	}
	files := maps.Clone(p.files)
	maps.Copy(files, crossFiles(p.files))
	for _, name := range append(slices.Sorted(maps.Keys(crossFiles(p.files))), missing...) {
		if len(plain[name]) == 0 {
			continue // the key of an external authority, or nobody vouches for this one
		}
		mode := os.FileMode(0o644)
		if strings.HasSuffix(name, ".key") {
			mode = 0o600
		}
		if err := atomicfile.Write(files[name], plain[name], mode); err != nil {
			return err
		}
	}
	return nil
}

func (p downloadCerts) read(ctx context.Context) (*corev1.Secret, error) {
	live, err := p.api.get(ctx, certsSecret(nil, nil))
	switch {
	case apierrors.IsForbidden(err):
		return nil, hint.With(err, "the token must be one for nodes that join, and the certificates must have been uploaded: "+uploadAgain)
	case err != nil:
		return nil, err
	case live == nil:
		return nil, hint.With(errors.New("the cluster stores no certificates: there is no Secret kube-system/"+certsName+", or no longer"), uploadAgain)
	}
	return toSecret(live)
}

// open decrypts what is needed. All is opened before anything is written.
func (p downloadCerts) open(secret *corev1.Secret, key []byte) (map[string][]byte, error) {
	sealer, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	plain, crosses := map[string][]byte{}, crossFiles(p.files)
	for _, name := range append(slices.Sorted(maps.Keys(p.files)), slices.Sorted(maps.Keys(crosses))...) {
		sealed, is := secret.Data[name]
		if _, optional := crosses[name]; !is && !optional {
			return nil, hint.With(fmt.Errorf("the Secret kube-system/%s holds no %s", certsName, name), uploadAgain)
		}
		if len(sealed) == 0 {
			continue
		}
		if plain[name], err = unseal(sealer, sealed); err != nil {
			return nil, hint.With(errors.New("the certificate key does not open the certificates in Secret kube-system/"+certsName),
				"the key is that of the last upload; "+uploadAgain)
		}
		if !bytes.Contains(plain[name], []byte("-----BEGIN ")) {
			return nil, fmt.Errorf("the %s in Secret kube-system/%s is no PEM", name, certsName)
		}
	}
	return plain, nil
}
