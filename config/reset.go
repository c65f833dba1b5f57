package config

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ResetConfiguration is kubeadm's document about taking a node out of use.
type ResetConfiguration struct {
	metav1.TypeMeta `json:",inline"`

	// CleanupTmpDir also removes kubeadm's directory for temporary files.
	CleanupTmpDir bool `json:"cleanupTmpDir,omitempty"`
	// CertificatesDir is where the PKI is kept.
	CertificatesDir string `json:"certificatesDir,omitempty"`
	// CRISocket is where the container engine listens.
	CRISocket string `json:"criSocket,omitempty"`
	// DryRun asks for the changes to be shown and not made.
	DryRun bool `json:"dryRun,omitempty"`
	// Force does not ask back.
	Force bool `json:"force,omitempty"`
	// IgnorePreflightErrors names checks that may find what they want.
	IgnorePreflightErrors []string `json:"ignorePreflightErrors,omitempty"`
	// SkipPhases names the phases not to run.
	SkipPhases []string `json:"skipPhases,omitempty"`
	// UnmountFlags are those of umount2(2), for what is mounted under the
	// kubelet's directory.
	UnmountFlags []string `json:"unmountFlags,omitempty"`
	// Timeouts bound the waits of this run.
	Timeouts *Timeouts `json:"timeouts,omitempty"`
}
