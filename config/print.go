package config

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// What stands in printed documents where only the user knows: kubeadm's words,
// which scripts look for. The hash is that of nothing, so whoever forgets to put in
// the cluster's own trusts nobody.
const (
	placeholderToken  = "abcdef.0123456789abcdef" //nolint:gosec // a placeholder
	placeholderServer = "kube-apiserver:6443"
	placeholderHash   = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
)

// A printed document has a line above it that says what it is about.
type printed struct {
	about    string
	kind     string
	document any
}

// PrintInit returns the documents that "boot init" reads, with all defaults.
// Components names those to add of KubeletConfiguration and
// KubeProxyConfiguration.
func PrintInit(components []string) ([]byte, error) {
	i, err := LoadInit(InitOptions{Host: AnyHost(), Flags: InitFlags{Token: placeholderToken}})
	if err != nil {
		return nil, err
	}
	i.Init.BootstrapTokens[0].Token = "" // one that everybody knows is none
	docs := []printed{
		{"What concerns this node and this run. An empty token has one made.", kindInit, i.Init},
		{"What all control planes of the cluster share.", kindCluster, i.Cluster},
		{"What kubeadm has no word for.", kindBoot, i.Boot},
	}
	more, err := i.components(components)
	if err != nil {
		return nil, err
	}
	return printAll(append(docs, more...))
}

// PrintJoin returns the document that "boot join" reads, with all defaults.
// Components is as in [PrintInit].
func PrintJoin(components []string) ([]byte, error) {
	j, err := LoadJoin(JoinOptions{Host: AnyHost(), Flags: JoinFlags{
		Endpoint: placeholderServer, Token: placeholderToken, CACertHashes: []string{placeholderHash},
	}})
	if err != nil {
		return nil, err
	}
	more, err := j.Node(Unasked(), "").components(components)
	if err != nil {
		return nil, err
	}
	return printAll(append([]printed{{"What concerns the node that joins; discovery is yours to fill in.", kindJoin, j.Join}}, more...))
}

// PrintReset returns the document that "boot reset" reads, with all defaults.
func PrintReset() ([]byte, error) {
	r, err := LoadReset(ResetOptions{})
	if err != nil {
		return nil, err
	}
	return printAll([]printed{{"What concerns taking this node out of use.", kindReset, r}})
}

// PrintUpgrade returns the document about upgrades, with the defaults of what boot
// heeds in it.
func PrintUpgrade() ([]byte, error) {
	u := &UpgradeConfiguration{TypeMeta: metav1.TypeMeta{APIVersion: KubeadmAPIVersion, Kind: kindUpgrade}}
	u.Apply.KubernetesVersion, u.Plan.KubernetesVersion = DefaultKubernetesVersion, DefaultKubernetesVersion
	u.Apply.EtcdUpgrade, u.Node.EtcdUpgrade, u.Plan.EtcdUpgrade = new(true), new(true), new(true)
	u.Diff.KubernetesVersion, u.Diff.DiffContextLines = DefaultKubernetesVersion, 3
	setTimeouts(&u.Timeouts)
	return printAll([]printed{{"What concerns moving to another version.", kindUpgrade, u}})
}

// components returns the documents of that kind with the defaults of their owners.
func (i *Init) components(kinds []string) ([]printed, error) {
	var all []printed
	for _, kind := range kinds {
		switch kind {
		case kindKubelet:
			k, err := honoured(i.Kubelet)
			if err != nil {
				return nil, err
			}
			all = append(all, printed{"What all kubelets of the cluster share.", kind, k})
		case kindKubeProxy:
			all = append(all, printed{"What all instances of kube-proxy share.", kind, i.KubeProxy})
		default:
			return nil, &Error{"", []Finding{{
				Field: "--component-configs", Message: fmt.Sprintf("%q is not the configuration of a component", kind),
				Hint: "name " + kindKubelet + " or " + kindKubeProxy,
			}}}
		}
	}
	return all, nil
}

// honoured returns a KubeletConfiguration with its defaults, without the fields that
// boot does not act upon.
func honoured(k kubeletv1beta1.KubeletConfiguration) (map[string]any, error) {
	whole := k.DeepCopy()
	DefaultKubelet(whole)
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(whole)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", kindKubelet, err)
	}
	maps.DeleteFunc(fields, func(name string, value any) bool {
		return !slices.Contains(honouredKubeletFields(), name) || value == nil || value == ""
	})
	return fields, nil
}

func printAll(docs []printed) ([]byte, error) {
	var all bytes.Buffer
	for n, d := range docs {
		text, err := marshal(d.document, d.kind)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			all.WriteString("---\n")
		}
		fmt.Fprintf(&all, "# %s\n%s", d.about, text)
	}
	return all.Bytes(), nil
}
