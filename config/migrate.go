package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// oldAPIVersion is the version of kubeadm's documents that [Migrate] rewrites.
const oldAPIVersion = "kubeadm.k8s.io/v1beta3"

// oldTimeout is how long v1beta3 waited for a control plane where nobody said so.
const oldTimeout = "4m0s"

// Migrate rewrites kubeadm's v1beta3 documents as those of [KubeadmAPIVersion],
// and leaves everything else as it is written: order, comments, what nobody set
// and documents of other groups. What changed between the two is that
//
//   - arguments are lists of names and values, no longer objects, and
//   - apiServer.timeoutForControlPlane and discovery.timeout are among timeouts.
//
// The result is checked; what is wrong with it comes back as one *[Error] with the
// places of the old file. A file of v1beta4 comes back as it was.
func Migrate(source string, data []byte) ([]byte, error) {
	if len(data) > maxConfigBytes {
		return nil, &Error{source, []Finding{{Message: "the file is larger than 4 MiB"}}}
	}
	stream := yaml.NewDecoder(bytes.NewReader(spaces(data)))
	m := migration{}
	for number := 1; ; number++ {
		var root yaml.Node
		err := stream.Decode(&root)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, &Error{source, []Finding{syntaxFinding(number, err)}}
		}
		m.document(&root)
	}
	if !m.old {
		_, err := decode(source, data)
		return data, err
	}
	m.placeTimeout()
	if err := m.check(source); err != nil {
		return nil, err
	}
	return m.encode()
}

// A migration is a file that is being rewritten.
type migration struct {
	roots []*yaml.Node
	old   bool // there was something to rewrite
	// timeout is what apiServer.timeoutForControlPlane was, if it was written.
	timeout *yaml.Node
}

// document rewrites one document.
func (m *migration) document(root *yaml.Node) {
	m.roots = append(m.roots, root)
	if len(root.Content) == 0 || root.Content[0].Kind != yaml.MappingNode {
		return
	}
	n := root.Content[0]
	version := child(n, "apiVersion")
	if version == nil || version.Value != oldAPIVersion {
		return
	}
	m.old = true
	version.Value = KubeadmAPIVersion
	switch scalarOf(n, "kind") {
	case kindCluster:
		for _, component := range []string{"apiServer", "controllerManager", "scheduler"} {
			argsToList(child(n, component), "extraArgs")
		}
		argsToList(child(child(n, "etcd"), "local"), "extraArgs")
		if d := take(child(n, "apiServer"), "timeoutForControlPlane"); d != nil {
			m.timeout = d
		}
	case kindInit:
		argsToList(child(n, "nodeRegistration"), "kubeletExtraArgs")
	case kindJoin:
		argsToList(child(n, "nodeRegistration"), "kubeletExtraArgs")
		if d := take(child(n, "discovery"), "timeout"); d != nil {
			setTimeout(n, "discovery", d)
		}
	}
}

// placeTimeout puts the wait for the control plane where it belongs now: with the
// node, in a document of its own if the file has none about that.
func (m *migration) placeTimeout() {
	if m.timeout == nil {
		return
	}
	for _, root := range m.roots {
		if len(root.Content) == 0 || scalarOf(root.Content[0], "apiVersion") != KubeadmAPIVersion {
			continue
		}
		if kind := scalarOf(root.Content[0], "kind"); kind == kindInit || kind == kindJoin {
			setTimeout(root.Content[0], "controlPlaneComponentHealthCheck", m.timeout)
			return
		}
	}
	if m.timeout.Value == oldTimeout {
		return
	}
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	put(n, "apiVersion", text(KubeadmAPIVersion))
	put(n, "kind", text(kindInit))
	setTimeout(n, "controlPlaneComponentHealthCheck", m.timeout)
	m.roots = append(m.roots, &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{n}})
}

// check decodes what came of the file.
func (m *migration) check(source string) error {
	docs := &documents{at: positions{}}
	var findings []Finding
	for n, root := range m.roots {
		findings = append(findings, docs.add(n+1, root)...)
	}
	if len(findings) > 0 {
		return &Error{source, findings}
	}
	return nil
}

func (m *migration) encode() ([]byte, error) {
	var b bytes.Buffer
	out := yaml.NewEncoder(&b)
	out.SetIndent(2)
	for _, root := range m.roots {
		if root.Kind == yaml.DocumentNode && len(root.Content) > 0 && !isNull(root.Content[0]) {
			if err := out.Encode(root); err != nil {
				return nil, fmt.Errorf("write the configuration: %w", err)
			}
		}
	}
	if err := out.Close(); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	return b.Bytes(), nil
}

// argsToList makes a list of names and values of an object, in the order in which
// it is written. Anything else stays, for the decoder to find.
func argsToList(n *yaml.Node, field string) {
	args := child(n, field)
	if args == nil || args.Kind != yaml.MappingNode {
		return
	}
	list := &yaml.Node{
		Kind: yaml.SequenceNode, Tag: "!!seq", Line: args.Line, Column: args.Column, Anchor: args.Anchor,
		HeadComment: args.HeadComment, LineComment: args.LineComment, FootComment: args.FootComment,
	}
	for i := 0; i+1 < len(args.Content); i += 2 {
		key, value := args.Content[i], args.Content[i+1]
		item := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: key.Line, Column: key.Column, HeadComment: key.HeadComment}
		name := *key
		name.HeadComment = ""
		put(item, "name", &name)
		put(item, "value", value)
		list.Content = append(list.Content, item)
	}
	*args = *list
}

// setTimeout writes one of a document's timeouts, unless it has that.
func setTimeout(n *yaml.Node, name string, d *yaml.Node) {
	timeouts := child(n, "timeouts")
	if timeouts == nil {
		timeouts = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: d.Line, Column: d.Column}
		put(n, "timeouts", timeouts)
	}
	if child(timeouts, name) == nil {
		put(timeouts, name, d)
	}
}

// child returns the value of a key, following aliases, or nil.
func child(n *yaml.Node, name string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			if v := n.Content[i+1]; v.Kind == yaml.AliasNode {
				return v.Alias
			}
			return n.Content[i+1]
		}
	}
	return nil
}

// take removes a key and returns its value, or nil.
func take(n *yaml.Node, name string) *yaml.Node {
	value := child(n, name)
	if value == nil {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			n.Content = append(n.Content[:i], n.Content[i+2:]...)
			break
		}
	}
	return value
}

func put(n *yaml.Node, name string, value *yaml.Node) {
	key := text(name)
	key.Line, key.Column = value.Line, value.Column
	n.Content = append(n.Content, key, value)
}

func text(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }
