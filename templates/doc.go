// Package templates renders the Kubernetes objects that make a cluster: the
// manifests of static pods, and the objects that are applied to a cluster once
// it runs.
//
// The package decides what is in them: kubeadm's flags, names, labels and
// probes. Each is an embedded YAML template that is filled from a typed struct
// and holds no logic; lists are sorted, so that the same configuration always
// gives the same bytes. Every function is pure. What has to be known about the
// host comes in as [Inputs]; what files there are to write, and applying objects to a
// cluster, is the business of phases.
//
// A manifest is filled, then changed by the user's patches, then decoded
// strictly into the type of the API, so that neither a mistake in a template
// nor one in a patch gets as far as a kubelet. At last it is annotated with
// hashes of what the pod depends on, see [ConfigHash] and [CertsHash].
package templates
