package discovery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/cert"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/jws"

	"boot.internal/config"
)

// byToken trusts the authority in the public cluster-info if the token has signed
// it and its hash is pinned, and the API server only if that authority has signed
// its certificate.
func (o Options) byToken(ctx context.Context, t *config.BootstrapTokenDiscovery) (*Cluster, error) {
	server := "https://" + t.APIServerEndpoint
	first, err := until(ctx, func(ctx context.Context) (*answer, error) {
		a, err := get(ctx, server, nil)
		if err != nil {
			return nil, err
		}
		return a, signedBy(a.info, t.Token, server)
	})
	if err != nil {
		return nil, err
	}
	ca, err := authorityOf(first.info)
	if err != nil {
		return nil, err
	}
	if err := pinned(ca, t.CACertHashes, server); err != nil {
		return nil, err
	}
	if err := o.sameTime(first, server); err != nil {
		return nil, err
	}
	second, err := until(ctx, func(ctx context.Context) (*answer, error) { return get(ctx, server, ca) })
	if err != nil {
		return nil, err
	}
	if second.info.Data[bootstrapapi.KubeConfigKey] != first.info.Data[bootstrapapi.KubeConfigKey] {
		return nil, fail(ErrUntrusted, server+" told two different stories of its cluster", "somebody may be listening in: try from another network")
	}
	return &Cluster{Server: server, CA: ca}, nil
}

// signedBy tells whether the cluster knows the token. A signature may come some
// moments after the token was made.
func signedBy(info *corev1.ConfigMap, token config.Secret, server string) error {
	id, secret, _ := strings.Cut(token.Reveal(), ".")
	content := info.Data[bootstrapapi.KubeConfigKey]
	if content == "" {
		return passing{fail(ErrNotJoinable, "the ConfigMap cluster-info of "+server+" is empty", "join with --discovery-file and a kubeconfig of the cluster")}
	}
	signature := info.Data[bootstrapapi.JWSSignatureKeyPrefix+id]
	if signature == "" {
		return passing{fail(ErrToken, fmt.Sprintf("the cluster at %s has no token %s: it has expired or is mistyped", server, id),
			"make a new one on a control plane: boot token create --print-join-command")}
	}
	if !jws.DetachedTokenIsValid(signature, content, id, secret) {
		return fail(ErrToken, fmt.Sprintf("the cluster at %s has a token %s, but with another secret", server, id),
			"check what follows the dot; boot token create --print-join-command on a control plane makes a new one")
	}
	return nil
}

// authorityOf returns the certificates in cluster-info.
func authorityOf(info *corev1.ConfigMap) ([]byte, error) {
	conf, err := clientcmd.Load([]byte(info.Data[bootstrapapi.KubeConfigKey]))
	if err == nil {
		for _, c := range conf.Clusters {
			if len(c.CertificateAuthorityData) > 0 {
				return c.CertificateAuthorityData, nil
			}
		}
		err = fmt.Errorf("it names no authority")
	}
	return nil, fail(ErrNotJoinable, "read the ConfigMap cluster-info: "+err.Error(), "join with --discovery-file and a kubeconfig of the cluster")
}

// pinned tells whether one of the authority's certificates has one of the hashes.
// Without hashes, the user has asked by name to trust the token alone.
func pinned(ca []byte, hashes []string, server string) error {
	certs, err := cert.ParseCertsPEM(ca)
	if err != nil {
		return fail(ErrNotJoinable, "read the authority in the ConfigMap cluster-info: "+err.Error(), "")
	}
	if len(hashes) == 0 {
		return nil
	}
	var have []string
	for _, c := range certs {
		have = append(have, Hash(c))
	}
	if slices.ContainsFunc(have, func(h string) bool { return slices.Contains(hashes, h) }) {
		return nil
	}
	return fail(ErrAuthority, fmt.Sprintf("the cluster at %s has the authority %s, and not the one that is pinned", server, strings.Join(have, ", ")),
		"compare with the hash that 'boot token create --print-join-command' prints on a control plane; if it is another, this is another cluster, or somebody pretends to be it")
}

// Hash returns the hash of a certificate's public key, as it is pinned:
// "sha256:" and 64 hexadecimal digits.
func Hash(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// SameAuthority tells whether two texts in PEM have a certificate in common.
func SameAuthority(a, b []byte) bool {
	ours, err := cert.ParseCertsPEM(a)
	if err != nil {
		return false
	}
	theirs, err := cert.ParseCertsPEM(b)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(ours, func(o *x509.Certificate) bool {
		return slices.ContainsFunc(theirs, func(t *x509.Certificate) bool { return bytes.Equal(o.Raw, t.Raw) })
	})
}
