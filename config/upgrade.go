package config

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// UpgradeConfiguration is kubeadm's document about moving to another version.
type UpgradeConfiguration struct {
	metav1.TypeMeta `json:",inline"`

	// Apply is for the first control-plane node.
	Apply UpgradeApplyConfiguration `json:"apply"`
	// Diff is for showing what would change.
	Diff UpgradeDiffConfiguration `json:"diff"`
	// Node is for all other nodes.
	Node UpgradeNodeConfiguration `json:"node"`
	// Plan is for showing where one can go.
	Plan UpgradePlanConfiguration `json:"plan"`
	// Timeouts bound the waits of this run.
	Timeouts *Timeouts `json:"timeouts,omitempty"`
}

// UpgradeApplyConfiguration is about upgrading the first control-plane node.
type UpgradeApplyConfiguration struct {
	// KubernetesVersion is the version to move to.
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	// AllowExperimentalUpgrades permits alpha and beta versions.
	AllowExperimentalUpgrades *bool `json:"allowExperimentalUpgrades,omitempty"`
	// AllowRCUpgrades permits release candidates.
	AllowRCUpgrades *bool `json:"allowRCUpgrades,omitempty"`
	// CertificateRenewal also renews the certificates.
	CertificateRenewal *bool `json:"certificateRenewal,omitempty"`
	// DryRun asks for the changes to be shown and not made.
	DryRun *bool `json:"dryRun,omitempty"`
	// EtcdUpgrade also upgrades etcd.
	EtcdUpgrade *bool `json:"etcdUpgrade,omitempty"`
	// ForceUpgrade goes on where a check says no.
	ForceUpgrade *bool `json:"forceUpgrade,omitempty"`
	// IgnorePreflightErrors names checks that may find what they want.
	IgnorePreflightErrors []string `json:"ignorePreflightErrors,omitempty"`
	// Patches is where patches for manifests are found.
	Patches *Patches `json:"patches,omitempty"`
	// PrintConfig shows the configuration that is used.
	PrintConfig *bool `json:"printConfig,omitempty"`
	// SkipPhases names the phases not to run.
	SkipPhases []string `json:"skipPhases,omitempty"`
	// ImagePullPolicy is for the images pulled before the start.
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// ImagePullSerial pulls one image after the other.
	ImagePullSerial *bool `json:"imagePullSerial,omitempty"`
}

// UpgradeDiffConfiguration is about showing what an upgrade would change.
type UpgradeDiffConfiguration struct {
	// KubernetesVersion is the version to compare with.
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	// DiffContextLines is how many unchanged lines to show around changes.
	DiffContextLines int `json:"contextLines,omitempty"`
}

// UpgradeNodeConfiguration is about upgrading any other node.
type UpgradeNodeConfiguration struct {
	// CertificateRenewal also renews the certificates.
	CertificateRenewal *bool `json:"certificateRenewal,omitempty"`
	// DryRun asks for the changes to be shown and not made.
	DryRun *bool `json:"dryRun,omitempty"`
	// EtcdUpgrade also upgrades etcd.
	EtcdUpgrade *bool `json:"etcdUpgrade,omitempty"`
	// IgnorePreflightErrors names checks that may find what they want.
	IgnorePreflightErrors []string `json:"ignorePreflightErrors,omitempty"`
	// SkipPhases names the phases not to run.
	SkipPhases []string `json:"skipPhases,omitempty"`
	// Patches is where patches for manifests are found.
	Patches *Patches `json:"patches,omitempty"`
	// ImagePullPolicy is for the images pulled before the start.
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// ImagePullSerial pulls one image after the other.
	ImagePullSerial *bool `json:"imagePullSerial,omitempty"`
}

// UpgradePlanConfiguration is about showing which versions one can move to.
type UpgradePlanConfiguration struct {
	// KubernetesVersion is the version to move to.
	KubernetesVersion string `json:"kubernetesVersion,omitempty"`
	// AllowExperimentalUpgrades permits alpha and beta versions.
	AllowExperimentalUpgrades *bool `json:"allowExperimentalUpgrades,omitempty"`
	// AllowRCUpgrades permits release candidates.
	AllowRCUpgrades *bool `json:"allowRCUpgrades,omitempty"`
	// DryRun asks for the changes to be shown and not made.
	DryRun *bool `json:"dryRun,omitempty"`
	// EtcdUpgrade also looks at etcd.
	EtcdUpgrade *bool `json:"etcdUpgrade,omitempty"`
	// IgnorePreflightErrors names checks that may find what they want.
	IgnorePreflightErrors []string `json:"ignorePreflightErrors,omitempty"`
	// PrintConfig shows the configuration that is used.
	PrintConfig *bool `json:"printConfig,omitempty"`
}
