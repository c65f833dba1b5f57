package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// defaultDiscovery is how long a joining node looks for its cluster. It is less
// than kubeadm's five minutes: somebody waits who may have mistyped an address.
const defaultDiscovery = 10 * time.Second

// A Join is everything "boot join" was asked to do, defaulted and validated as
// far as that goes before the cluster was asked; [Join.Node] adds what the cluster
// says. Nothing in it changes after [LoadJoin] returned it.
type Join struct {
	// Join is what concerns this node and this run. A token for finding the
	// cluster is also that for TLSBootstrapToken, unless there is another.
	Join JoinConfiguration
	// Boot is what the user wants of this node that kubeadm has no word for. It
	// is not defaulted: what is left out follows the cluster.
	Boot BootConfiguration
	// Warnings are for the user.
	Warnings []string

	host Host
}

// JoinOptions is all that [LoadJoin] looks at.
type JoinOptions struct {
	// Path is the configuration file (--config); empty for none.
	Path string
	// Data, when not nil, is read instead of the file; Path then only names it
	// in errors.
	Data []byte
	// Flags are what was given on the command line.
	Flags JoinFlags
	// Host is what is known about this host, see [ReadHost].
	Host Host
}

// LoadJoin reads the configuration file, applies the flags, fills in what is
// missing and checks the result, like [LoadInit].
func LoadJoin(o JoinOptions) (*Join, error) {
	data, err := readSource(o.Path, o.Data)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	docs, err := decode(o.Path, data)
	if err != nil {
		return nil, err
	}
	j := &Join{host: o.Host}
	copyTo(&j.Join, docs.Join)
	copyTo(&j.Boot, docs.Boot)
	v := newValidator(o.Path, docs)
	if data != nil && docs.Join == nil {
		v.add("", "", "the file has no JoinConfiguration", "boot reads "+supported())
	}
	v.apply(o.Flags.settings(&j.Join), data != nil)
	j.setDefaults()
	v.join(j)
	for kind, given := range map[string]bool{
		kindCluster: docs.Cluster != nil, kindKubelet: docs.Kubelet != nil, kindKubeProxy: docs.KubeProxy != nil,
	} {
		if given {
			j.warn(kind + " is not honoured: the cluster has its own; use patches for this node alone")
		}
	}
	slices.Sort(j.Warnings)
	if err := v.err(); err != nil {
		return nil, err
	}
	return j, nil
}

func (j *Join) setDefaults() {
	c := &j.Join
	c.TypeMeta = metav1.TypeMeta{APIVersion: KubeadmAPIVersion, Kind: kindJoin}
	j.Boot.TypeMeta = metav1.TypeMeta{APIVersion: BootAPIVersion, Kind: kindBoot}
	j.warn(c.NodeRegistration.setDefaults(j.host.Name))
	setDefault(&c.CACertPath, DefaultCertificatesDir+"/ca.crt")
	if c.ControlPlane != nil {
		c.ControlPlane.LocalAPIEndpoint.setDefaults(j.host)
	}
	if c.Timeouts == nil {
		c.Timeouts = &Timeouts{}
	}
	if c.Timeouts.Discovery == nil {
		c.Timeouts.Discovery = &metav1.Duration{Duration: defaultDiscovery}
	}
	setTimeouts(&c.Timeouts)
	if t := c.Discovery.BootstrapToken; t != nil {
		setDefault(&c.Discovery.TLSBootstrapToken, t.Token)
		for n, hash := range t.CACertHashes {
			t.CACertHashes[n] = strings.ToLower(hash)
		}
	}
}

func (j *Join) warn(warnings ...string) {
	for _, w := range warnings {
		if w != "" {
			j.Warnings = append(j.Warnings, w)
		}
	}
}
