package config

import (
	"encoding/hex"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	bootstraputil "k8s.io/cluster-bootstrap/token/util"
)

// join checks a defaulted configuration as a whole.
func (v *validator) join(j *Join) {
	c := &j.Join
	v.node(kindJoin, &c.NodeRegistration)
	v.absolute(kindJoin, "caCertPath", c.CACertPath)
	v.discovery(&c.Discovery)
	if m := c.ControlPlane; m != nil {
		v.endpoint(kindJoin, "controlPlane.localAPIEndpoint", m.LocalAPIEndpoint, j.host)
		v.certificateKey(kindJoin, "controlPlane.certificateKey", m.CertificateKey)
	}
	v.timeouts(kindJoin, c.Timeouts)
	if c.Patches != nil {
		v.absolute(kindJoin, "patches.directory", c.Patches.Directory)
	}
	boot := j.Boot
	boot.setDefaults()
	v.boot(&boot)
	j.warn(kubeletArgWarnings(c.NodeRegistration.KubeletExtraArgs)...)
}

func (v *validator) discovery(d *Discovery) {
	const hint = "name an API server and a token: boot join ADDR:PORT --token TOKEN --discovery-token-ca-cert-hash HASH; or use --discovery-file"
	switch {
	case d.BootstrapToken == nil && d.File == nil:
		v.add(kindJoin, "discovery", "nothing says how to find the cluster", hint)
	case d.BootstrapToken != nil && d.File != nil:
		v.add(kindJoin, "discovery", "bootstrapToken and file exclude each other", "find the cluster either by a token or by a file")
	case d.BootstrapToken != nil:
		v.tokenDiscovery(d.BootstrapToken)
	default:
		v.fileDiscovery(d.File.KubeConfigPath)
	}
	same := d.BootstrapToken != nil && d.TLSBootstrapToken == d.BootstrapToken.Token
	v.token("discovery.tlsBootstrapToken", d.TLSBootstrapToken, same || d.TLSBootstrapToken == "")
}

func (v *validator) tokenDiscovery(t *BootstrapTokenDiscovery) {
	const at = "discovery.bootstrapToken."
	v.token(at+"token", t.Token, false)
	host, port, ok := splitEndpoint(t.APIServerEndpoint)
	switch {
	case t.APIServerEndpoint == "":
		v.add(kindJoin, at+"apiServerEndpoint", "no API server is named", `write it as "192.0.2.10:6443"`)
	case !ok:
		v.add(kindJoin, at+"apiServerEndpoint", strconv.Quote(t.APIServerEndpoint)+" is not a host with a port", `write it as "192.0.2.10:6443"`)
	case port == "":
		t.APIServerEndpoint = net.JoinHostPort(host, strconv.Itoa(DefaultBindPort))
	}
	v.check(len(t.CACertHashes) > 0 || t.UnsafeSkipCAVerification, kindJoin, at+"caCertHashes",
		"nothing says which authority the cluster has: anybody who knows the token could pretend to be it",
		"give --discovery-token-ca-cert-hash, or take the risk with --discovery-token-unsafe-skip-ca-verification")
	for n, hash := range t.CACertHashes {
		digest, found := strings.CutPrefix(hash, "sha256:")
		raw, err := hex.DecodeString(digest)
		v.check(found && err == nil && len(raw) == 32, kindJoin, at+"caCertHashes["+strconv.Itoa(n)+"]",
			strconv.Quote(hash)+" is not the hash of a public key", `write "sha256:" and 64 hexadecimal digits`)
	}
}

// token does not quote what it checks: not even a wrong token is for the eyes of
// others.
func (v *validator) token(path string, t Secret, optional bool) {
	v.check(optional || bootstraputil.IsValidBootstrapToken(t.Reveal()), kindJoin, path, "not a bootstrap token",
		"write six characters, a dot and sixteen characters of a-z and 0-9")
}

func (v *validator) fileDiscovery(path string) {
	u, err := url.Parse(path)
	v.check(err == nil && path != "" && (u.Scheme == "https" && u.Host != "" || u.Scheme == "" && path == filepath.Clean(path)), kindJoin,
		"discovery.file.kubeConfigPath", strconv.Quote(path)+" is neither a file nor an https URL", "what is sent without TLS is not to be trusted")
}
