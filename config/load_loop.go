package config

import (
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

// LoadKubelet reads a KubeletConfiguration, and a BootConfiguration if there
// is one beside it, from data or else from the file at path. With neither, all
// is default. What is wrong comes back as one *[Error].
func LoadKubelet(path string, data []byte) (*Loop, error) {
	data, err := readSource(path, data)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	docs, err := decode(path, data)
	if err != nil {
		return nil, err
	}
	l := &Loop{}
	copyTo(&l.Kubelet, docs.Kubelet)
	copyTo(&l.Boot, docs.Boot)
	v := newValidator(path, docs)
	if data != nil && docs.Kubelet == nil && docs.Boot == nil {
		v.add("", "", "the file has no KubeletConfiguration", "boot reads "+supported())
	}
	l.Boot.setDefaults()
	DefaultKubelet(&l.Kubelet)
	v.kubelet(&l.Kubelet)
	v.boot(&l.Boot)
	l.Warnings = kubeletWarnings(docs.at)
	if err := v.err(); err != nil {
		return nil, err
	}
	return l, nil
}
