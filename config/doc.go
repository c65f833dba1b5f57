// Package config turns what the user asked for into one defaulted, validated
// value.
//
// In go kubeadm v1beta4 documents, KubeletConfiguration, KubeProxyConfiguration
// and boot's own BootConfiguration, as YAML or JSON in one stream, and the
// flags of a command. Out comes one value ([Init] for "boot init") that later
// packages only read, or one error that lists every finding with its place and
// what to do about it.
//
// The package decides names, defaults and what is allowed. It does not touch
// the host: facts about it come in as a [Host], so that loading is a pure
// function of its options. Whether the host can run a cluster is the business
// of preflight, and what the documents turn into is that of templates and
// phases.
package config
