package config

import (
	"cmp"
	"fmt"
	"slices"
)

// tokenDescription is that of a bootstrap token the file says nothing about.
const tokenDescription = "The default bootstrap token of boot init."

// LoadInit reads the configuration file, applies the flags, fills in what is
// missing and checks the result. What is wrong with the configuration comes
// back as one *[Error]; any other error is about reading the file.
func LoadInit(o InitOptions) (*Init, error) {
	data, err := readSource(o.Path, o.Data)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	docs, err := decode(o.Path, data)
	if err != nil {
		return nil, err
	}
	i := docs.toInit()
	v := newValidator(o.Path, docs)
	v.fromFile(docs, data != nil)
	v.apply(o.Flags.settings(i), data != nil)
	if err := i.setDefaults(o.Host); err != nil {
		return nil, fmt.Errorf("make a bootstrap token: %w", err)
	}
	v.init(i, o.Host)
	i.warn(kubeletWarnings(docs.at)...)
	if err := v.err(); err != nil {
		return nil, err
	}
	return i, nil
}

// toInit takes over the documents that "boot init" has a use for.
func (d *documents) toInit() *Init {
	i := &Init{}
	copyTo(&i.Init, d.Init)
	copyTo(&i.Cluster, d.Cluster)
	copyTo(&i.Kubelet, d.Kubelet)
	copyTo(&i.KubeProxy, d.KubeProxy)
	copyTo(&i.Boot, d.Boot)
	// A bool that was not written looks like false. Nobody who does not say so wants
	// kubelets that clients cannot trust.
	if !d.wrote(kindKubelet, "serverTLSBootstrap") {
		i.Kubelet.ServerTLSBootstrap = true
	}
	return i
}

// wrote reports whether a file says something of a setting.
func (d *documents) wrote(kind, path string) bool {
	_, ok := d.at[kind+" "+path]
	return ok
}

func copyTo[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// A validator collects findings and gives each its place.
type validator struct {
	source   string
	at       positions
	flags    map[string]string // the flag that set a setting, by kind and path
	findings []Finding
}

func newValidator(source string, docs *documents) *validator {
	return &validator{source: source, at: docs.at, flags: map[string]string{}}
}

// apply sets what flags say, and refuses those that do not go with a file.
func (v *validator) apply(settings []flagSetting, file bool) {
	for _, f := range settings {
		switch {
		case !f.given:
		case file && !f.withFile:
			v.add("", f.name, "can not be mixed with --config", fmt.Sprintf("set %s of %s in the file", f.path, f.kind))
		default:
			f.apply()
			v.flags[f.kind+" "+f.path] = f.name
		}
	}
}

// add reports that a setting is wrong.
func (v *validator) add(kind, path, message, hint string) {
	f := Finding{Kind: kind, Field: path, Message: message, Hint: hint}
	if flag := v.flags[kind+" "+path]; flag != "" {
		f.Field, f.Kind = flag, ""
	} else if at := v.at.of(kind, path); at.doc > 0 {
		f.File, f.Doc, f.Line, f.Column = at.file, at.doc, at.line, at.column
	}
	v.findings = append(v.findings, f)
}

// check reports a setting as wrong unless ok.
func (v *validator) check(ok bool, kind, path string, text ...string) {
	if !ok {
		message, hint := text[0], ""
		if len(text) > 1 {
			hint = text[1]
		}
		v.add(kind, path, message, hint)
	}
}

// fromFile wants at least one document about the cluster in a file, as kubeadm
// does: anything else is probably the wrong file.
func (v *validator) fromFile(d *documents, file bool) {
	if file && d.Init == nil && d.Cluster == nil && d.Boot == nil {
		v.add("", "", "the file has no InitConfiguration, ClusterConfiguration or BootConfiguration", "boot reads "+supported())
	}
}

// err returns the findings in the order of the file, those without a place
// last.
func (v *validator) err() error {
	if len(v.findings) == 0 {
		return nil
	}
	slices.SortStableFunc(v.findings, func(a, b Finding) int {
		return cmp.Or(
			boolCompare(a.Doc == 0, b.Doc == 0),
			cmp.Compare(a.Doc, b.Doc), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Field, b.Field))
	})
	return &Error{Source: v.source, Findings: v.findings}
}
