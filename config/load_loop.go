package config

import (
	"cmp"
	"fmt"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// A Loop is everything "boot kubelet" was asked to do, defaulted and
// validated.
type Loop struct {
	// Kubelet has the kubelet's own defaults filled in, see [DefaultKubelet].
	Kubelet kubeletv1beta1.KubeletConfiguration
	// Boot is what the kubelet has no word for.
	Boot BootConfiguration
	// Warnings name the fields that were set and are not honoured.
	Warnings []string
}

// LoopOptions is all that [LoadKubelet] looks at.
type LoopOptions struct {
	// Path is the configuration file (--config); empty for none.
	Path string
	// Data, when not nil, is read instead of the file; Path then only names it
	// in errors.
	Data []byte
	// DropIns is the directory of files that change what Path says
	// (--config-dir, KEP-3983); empty for none.
	DropIns string
}

// LoadKubelet reads a KubeletConfiguration, and a BootConfiguration if there
// is one beside it, and merges the drop-ins over the former. With no file at
// all, all is default. What is wrong with one of the files comes back as an
// *[Error].
func LoadKubelet(o LoopOptions) (*Loop, error) {
	data, err := readSource(o.Path, o.Data)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	docs, err := decode(o.Path, data)
	if err != nil {
		return nil, err
	}
	l := &Loop{Warnings: kubeletWarnings(docs.at)}
	copyTo(&l.Kubelet, docs.Kubelet)
	copyTo(&l.Boot, docs.Boot)
	v := newValidator(cmp.Or(o.Path, o.DropIns), docs)
	if data != nil && docs.Kubelet == nil && docs.Boot == nil {
		v.add("", "", "the file has no KubeletConfiguration", "boot reads "+supported())
	}
	l.Boot.setDefaults()
	DefaultKubelet(&l.Kubelet)
	if o.DropIns != "" {
		if err := l.merge(o.DropIns, docs.at); err != nil {
			return nil, err
		}
	}
	v.kubelet(&l.Kubelet)
	v.boot(&l.Boot)
	if err := v.err(); err != nil {
		return nil, err
	}
	return l, nil
}
