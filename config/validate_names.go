package config

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/version"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
)

// The minor versions of Kubernetes 1 that boot supports.
const (
	newestMinor = 37
	oldestMinor = 36
)

func (v *validator) version(s string) {
	const at = "kubernetesVersion"
	hint := fmt.Sprintf("boot supports v1.%d and v1.%d, as in %q", newestMinor, oldestMinor, DefaultKubernetesVersion)
	parsed, err := version.ParseSemantic(s)
	switch {
	case err != nil || !strings.HasPrefix(s, "v"):
		v.add(kindCluster, at, strconv.Quote(s)+" is not a version", hint)
	case parsed.Major() != 1 || parsed.Minor() < oldestMinor || parsed.Minor() > newestMinor:
		v.add(kindCluster, at, s+" is not supported", hint)
	}
}

// gates refuses names kubeadm does not know and warns about the one it knows.
func (v *validator) gates(gates map[string]bool) (warnings []string) {
	const rootless = "RootlessControlPlane"
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		if name != rootless {
			v.add(kindCluster, "featureGates."+name, "unknown feature gate",
				"gates of Kubernetes itself go into extraArgs and KubeletConfiguration")
		} else if gates[name] {
			warnings = append(warnings, "featureGates."+rootless+" is not honoured: boot runs the control plane as root")
		}
	}
	return warnings
}

// validity warns about periods that are longer than they should be.
func (v *validator) validity(c *ClusterConfiguration) (warnings []string) {
	leaf, ca := c.CertificateValidityPeriod.Duration, c.CACertificateValidityPeriod.Duration
	v.check(leaf > 0, kindCluster, "certificateValidityPeriod", "must be positive")
	v.check(ca > 0, kindCluster, "caCertificateValidityPeriod", "must be positive")
	if leaf > 365*24*time.Hour {
		warnings = append(warnings, fmt.Sprintf("certificateValidityPeriod %s is more than a year", leaf))
	}
	if ca > 10*365*24*time.Hour {
		warnings = append(warnings, fmt.Sprintf("caCertificateValidityPeriod %s is more than ten years", ca))
	}
	if leaf > ca {
		warnings = append(warnings, fmt.Sprintf("certificateValidityPeriod %s is more than caCertificateValidityPeriod %s", leaf, ca))
	}
	return warnings
}

// tokens never quotes a token: not even a wrong one is for the eyes of others.
func (v *validator) tokens(tokens []BootstrapToken) {
	for k, t := range tokens {
		at := "bootstrapTokens[" + strconv.Itoa(k) + "]"
		v.check(bootstraputil.IsValidBootstrapToken(t.Token.Reveal()), kindInit, at+".token", "not a bootstrap token",
			`write six characters, a dot and sixteen characters of a-z and 0-9; "kubeadm token generate" makes one`)
		if err := bootstraputil.ValidateUsages(t.Usages); err != nil {
			v.add(kindInit, at+".usages", err.Error(), "")
		}
		v.check(slices.Contains(t.Usages, "authentication") || len(t.Groups) == 0, kindInit, at+".groups",
			`groups need the usage "authentication"`)
		for n, g := range t.Groups {
			if err := bootstraputil.ValidateBootstrapGroupName(g); err != nil {
				v.add(kindInit, at+".groups["+strconv.Itoa(n)+"]", err.Error(), "")
			}
		}
		v.check(t.TTL == nil || t.Expires == nil, kindInit, at, "ttl and expires exclude each other")
		v.check(t.TTL == nil || t.TTL.Duration >= 0, kindInit, at+".ttl", "must not be negative")
	}
}

func (v *validator) certificateKey(kind, path string, k Secret) {
	raw, err := hex.DecodeString(k.Reveal())
	v.check(k == "" || err == nil && len(raw) == 32, kind, path, "not a key of 32 bytes in hexadecimal",
		`"kubeadm certs certificate-key" makes one`)
}

func (v *validator) timeouts(kind string, t *Timeouts) {
	if t == nil {
		return
	}
	for name, d := range map[string]*metav1.Duration{
		"controlPlaneComponentHealthCheck": t.ControlPlaneComponentHealthCheck,
		"kubeletHealthCheck":               t.KubeletHealthCheck,
		"kubernetesAPICall":                t.KubernetesAPICall,
		"etcdAPICall":                      t.EtcdAPICall,
		"tlsBootstrap":                     t.TLSBootstrap,
		"discovery":                        t.Discovery,
		"upgradeManifests":                 t.UpgradeManifests,
	} {
		v.check(d == nil || d.Duration >= 0, kind, "timeouts."+name, "must not be negative")
	}
}

func (v *validator) sans(path string, sans []string) {
	for k, s := range sans {
		_, err := netip.ParseAddr(s)
		ok := err == nil || len(validation.IsDNS1123Subdomain(s)) == 0 || len(validation.IsWildcardDNS1123Subdomain(s)) == 0
		at := path + "[" + strconv.Itoa(k) + "]"
		if v.flags[kindCluster+" "+path] != "" {
			at = path // the flag holds them all
		}
		v.check(ok, kindCluster, at, strconv.Quote(s)+" is neither an address nor a DNS name")
	}
}

func (v *validator) repository(path, value string) {
	ok := value == "" || reference.ReferenceRegexp.MatchString(value+"/name:tag")
	v.check(ok, kindCluster, path, strconv.Quote(value)+" is not an image repository", `write it without scheme, as in "registry.example.org/k8s"`)
}

func (v *validator) socket(kind, path, value string) {
	if value == "" {
		return
	}
	u, err := url.Parse(value)
	v.check(err == nil && u.Scheme == "unix" && strings.HasPrefix(u.Path, "/"), kind, path,
		strconv.Quote(value)+" is not a socket", `write it as "unix:///run/containerd/containerd.sock"`)
}

func (v *validator) dnsName(kind, path, value string) {
	v.check(len(validation.IsDNS1123Subdomain(value)) == 0, kind, path, strconv.Quote(value)+" is not a DNS name",
		"use lower-case letters, digits, dashes and dots, 253 at most")
}

func (v *validator) dnsLabel(path, value string) {
	v.check(len(validation.IsDNS1123Label(value)) == 0, kindCluster, path, strconv.Quote(value)+" is not a DNS label",
		"use lower-case letters, digits and dashes, 63 at most")
}
