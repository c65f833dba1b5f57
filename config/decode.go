package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// maxConfigBytes bounds what is read: a real configuration has a few kilobytes.
const maxConfigBytes = 4 << 20

// documents is a decoded stream. A field is nil where the stream has no
// document of that kind.
type documents struct {
	Init      *InitConfiguration
	Cluster   *ClusterConfiguration
	Join      *JoinConfiguration
	Reset     *ResetConfiguration
	Upgrade   *UpgradeConfiguration
	Boot      *BootConfiguration
	Kubelet   *kubeletv1beta1.KubeletConfiguration
	KubeProxy *kubeproxyv1alpha1.KubeProxyConfiguration

	// kubelet is Kubelet as it was written: no more than that, in the form that
	// encoding/json uses.
	kubelet any
	// at says where settings were written.
	at positions
}

// A target is the field of documents for one kind.
type target struct {
	apiVersion, kind string
	into             func(*documents) any
}

// targets lists the kinds boot reads; the documentation of each is the type.
func targets() []target {
	return []target{
		{KubeadmAPIVersion, kindInit, func(d *documents) any { return &d.Init }},
		{KubeadmAPIVersion, kindCluster, func(d *documents) any { return &d.Cluster }},
		{KubeadmAPIVersion, kindJoin, func(d *documents) any { return &d.Join }},
		{KubeadmAPIVersion, kindReset, func(d *documents) any { return &d.Reset }},
		{KubeadmAPIVersion, kindUpgrade, func(d *documents) any { return &d.Upgrade }},
		{BootAPIVersion, kindBoot, func(d *documents) any { return &d.Boot }},
		{KubeletAPIVersion, kindKubelet, func(d *documents) any { return &d.Kubelet }},
		{KubeProxyAPIVersion, kindKubeProxy, func(d *documents) any { return &d.KubeProxy }},
	}
}

// readSource returns data, or else the content of the file at path.
func readSource(path string, data []byte) ([]byte, error) {
	if data != nil || path == "" {
		return data, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err = io.ReadAll(io.LimitReader(f, maxConfigBytes+1))
	return data, errors.Join(err, f.Close())
}

// decode reads all documents of a stream. A document of a kind that the
// command at hand has no use for is checked like the others.
func decode(source string, data []byte) (*documents, error) {
	if len(data) > maxConfigBytes {
		return nil, &Error{source, []Finding{{Message: "the file is larger than 4 MiB"}}}
	}
	docs := &documents{at: positions{}}
	var findings []Finding
	stream := yaml.NewDecoder(bytes.NewReader(spaces(data)))
	for number := 1; ; number++ {
		var root yaml.Node
		err := stream.Decode(&root)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			findings = append(findings, syntaxFinding(number, err))
			break // the parser cannot find the next document either
		}
		findings = append(findings, docs.add(number, &root)...)
	}
	if len(findings) > 0 {
		return nil, &Error{source, findings}
	}
	return docs, nil
}

// spaces makes YAML of JSON that is indented with tabs, which YAML forbids.
// JSON cannot have a tab inside a string, so no value and no column changes.
func spaces(data []byte) []byte {
	if bytes.IndexByte(data, '\t') < 0 || !json.Valid(data) {
		return data
	}
	return bytes.ReplaceAll(data, []byte{'\t'}, []byte{' '})
}

// add decodes one document into its field.
func (d *documents) add(number int, root *yaml.Node) []Finding {
	if len(root.Content) == 0 || isNull(root.Content[0]) {
		return nil
	}
	n := root.Content[0]
	to, finding := d.target(n)
	if finding != nil {
		finding.Doc = number
		return []Finding{*finding}
	}
	slot := reflect.ValueOf(to.into(d)).Elem()
	if !slot.IsNil() {
		return []Finding{{
			Doc: number, Kind: to.kind, Line: n.Line, Message: "the file has two documents of this kind",
			Hint: "put all settings into one of them",
		}}
	}
	into := reflect.New(slot.Type().Elem())
	s := strict{kind: to.kind, doc: number, at: d.at, budget: maxNodes}
	tree := s.decode(n, into.Interface())
	if to.kind == kindKubelet {
		d.kubelet = tree
	}
	slot.Set(into)
	return s.findings
}

// target finds out which kind a document is of.
func (d *documents) target(n *yaml.Node) (target, *Finding) {
	place := Finding{Line: n.Line, Column: n.Column}
	if n.Kind != yaml.MappingNode {
		place.Message = "expected an object with apiVersion and kind, found " + nodeName(n)
		return target{}, &place
	}
	apiVersion, kind := scalarOf(n, "apiVersion"), scalarOf(n, "kind")
	for _, t := range targets() {
		if t.apiVersion == apiVersion && t.kind == kind {
			return t, nil
		}
	}
	place.Message, place.Hint = unknownKind(apiVersion, kind)
	return target{}, &place
}

// unknownKind says why there is no target for a document.
func unknownKind(apiVersion, kind string) (message, hint string) {
	group, _, _ := strings.Cut(KubeadmAPIVersion, "/")
	switch {
	case apiVersion == "" || kind == "":
		return "the document has no apiVersion or no kind", "boot reads " + supported()
	case apiVersion == oldAPIVersion:
		return "version " + strconv.Quote(apiVersion) + " is not supported",
			`rewrite the file with "boot config migrate --old-config FILE --new-config FILE"`
	case strings.HasPrefix(apiVersion, group+"/") && apiVersion != KubeadmAPIVersion:
		return "version " + strconv.Quote(apiVersion) + " is not supported",
			"boot reads " + KubeadmAPIVersion + `, and "boot config migrate" rewrites ` + oldAPIVersion
	}
	return strconv.Quote(kind) + " of " + strconv.Quote(apiVersion) + " is not a kind boot knows", "boot reads " + supported()
}

// supported lists the kinds boot reads, by version.
func supported() string {
	var b strings.Builder
	last := ""
	for _, t := range targets() {
		switch {
		case t.apiVersion == last:
			b.WriteString(", " + t.kind)
		case last == "":
			b.WriteString(t.apiVersion + " " + t.kind)
		default:
			b.WriteString("; " + t.apiVersion + " " + t.kind)
		}
		last = t.apiVersion
	}
	return b.String()
}

// scalarOf returns the value of a key as it is written, or "".
func scalarOf(mapping *yaml.Node, key string) string {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key && mapping.Content[i+1].Kind == yaml.ScalarNode {
			return mapping.Content[i+1].Value
		}
	}
	return ""
}

// syntaxFinding turns an error of the YAML parser into a finding with the line
// that its text names.
func syntaxFinding(doc int, err error) Finding {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	f := Finding{Doc: doc, Message: "not valid YAML: " + text}
	if m := regexp.MustCompile(`^line (\d+): (.*)$`).FindStringSubmatch(text); m != nil {
		f.Line, _ = strconv.Atoi(m[1]) // digits only
		f.Message = "not valid YAML: " + m[2]
	}
	return f
}
