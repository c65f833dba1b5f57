package config

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/utils/ptr"
)

// An UpgradeCommand is one of the commands that an [UpgradeConfiguration] has a
// part for.
type UpgradeCommand string

// The commands.
const (
	UpgradePlan  UpgradeCommand = "plan"
	UpgradeApply UpgradeCommand = "apply"
	UpgradeNode  UpgradeCommand = "node"
	UpgradeDiff  UpgradeCommand = "diff"
)

// An Upgrade is what one of the commands was asked to do: its part of the file
// and its flags. What a command has no word for is zero.
type Upgrade struct {
	// Version to move to; empty leaves the choice to the command.
	Version string
	// Prereleases permits alpha and beta versions, Candidates release candidates.
	Prereleases, Candidates bool
	// Force goes on where a check says no and nothing is at stake for it.
	Force  bool
	DryRun bool
	// KeepEtcd leaves etcd at the version it has.
	KeepEtcd bool
	// KeepCertificates leaves the certificates of what is replaced as they are.
	KeepCertificates      bool
	IgnorePreflightErrors []string
	SkipPhases            []string
	Patches               *Patches
	// ContextLines are those that a diff shows around a change.
	ContextLines int
	Timeouts     *Timeouts
	// Warnings name what was asked for and is not honoured.
	Warnings []string
}

// UpgradeOptions is all that [LoadUpgrade] looks at.
type UpgradeOptions struct {
	// Path is the configuration file (--config); empty for none.
	Path string
	// Data, when not nil, is read instead of the file; Path then only names it
	// in errors.
	Data []byte
	// Flags and arguments, as far as they were given: they win over the file.
	Flags Upgrade
}

// LoadUpgrade reads the configuration file, applies the flags, fills in what is
// missing and checks the result, like [LoadInit].
func LoadUpgrade(command UpgradeCommand, o UpgradeOptions) (*Upgrade, error) {
	data, err := readSource(o.Path, o.Data)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	docs, err := decode(o.Path, data)
	if err != nil {
		return nil, err
	}
	v := newValidator(o.Path, docs)
	if data != nil && docs.Upgrade == nil {
		v.add("", "", "the file has no UpgradeConfiguration", "boot reads "+supported())
	}
	var c UpgradeConfiguration
	copyTo(&c, docs.Upgrade)
	u := c.of(command)
	u.warn(docs, command)
	u.override(o.Flags)
	u.setDefaults()
	v.timeouts(kindUpgrade, u.Timeouts)
	if u.Patches != nil {
		v.absolute(kindUpgrade, string(command)+".patches.directory", u.Patches.Directory)
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	return u, nil
}

// of returns what the document says of a command.
func (c *UpgradeConfiguration) of(command UpgradeCommand) *Upgrade {
	on, off := func(b *bool) bool { return ptr.Deref(b, false) }, func(b *bool) bool { return !ptr.Deref(b, true) }
	u := &Upgrade{Timeouts: c.Timeouts}
	switch command {
	case UpgradePlan:
		p := c.Plan
		u.Version, u.Prereleases, u.Candidates = p.KubernetesVersion, on(p.AllowExperimentalUpgrades), on(p.AllowRCUpgrades)
		u.KeepEtcd, u.IgnorePreflightErrors = off(p.EtcdUpgrade), p.IgnorePreflightErrors
	case UpgradeApply:
		a := c.Apply
		u.Version, u.Prereleases, u.Candidates = a.KubernetesVersion, on(a.AllowExperimentalUpgrades), on(a.AllowRCUpgrades)
		u.Force, u.DryRun = on(a.ForceUpgrade), on(a.DryRun)
		u.KeepEtcd, u.KeepCertificates = off(a.EtcdUpgrade), off(a.CertificateRenewal)
		u.IgnorePreflightErrors, u.SkipPhases, u.Patches = a.IgnorePreflightErrors, a.SkipPhases, a.Patches
	case UpgradeNode:
		n := c.Node
		u.DryRun, u.KeepEtcd, u.KeepCertificates = on(n.DryRun), off(n.EtcdUpgrade), off(n.CertificateRenewal)
		u.IgnorePreflightErrors, u.SkipPhases, u.Patches = n.IgnorePreflightErrors, n.SkipPhases, n.Patches
	case UpgradeDiff:
		u.Version, u.ContextLines = c.Diff.KubernetesVersion, c.Diff.DiffContextLines
	}
	return u
}

// warn names the settings of the file that have no effect.
func (u *Upgrade) warn(docs *documents, command UpgradeCommand) {
	for field, why := range map[string]string{
		"printConfig":     "'boot config print' shows it",
		"imagePullPolicy": "images that the engine has are used as they are",
		"imagePullSerial": "images come one after the other",
	} {
		if path := string(command) + "." + field; docs.wrote(kindUpgrade, path) {
			u.Warnings = append(u.Warnings, path+" is not honoured: "+why)
		}
	}
	slices.Sort(u.Warnings)
}

// override takes over what the command line says.
func (u *Upgrade) override(f Upgrade) {
	if f.Version != "" {
		u.Version = f.Version
	}
	if f.Patches != nil {
		u.Patches = f.Patches
	}
	if f.ContextLines != 0 {
		u.ContextLines = f.ContextLines
	}
	if len(f.SkipPhases) > 0 {
		u.SkipPhases = f.SkipPhases
	}
	u.Prereleases, u.Candidates = u.Prereleases || f.Prereleases, u.Candidates || f.Candidates
	u.Force, u.DryRun = u.Force || f.Force, u.DryRun || f.DryRun
	u.KeepEtcd, u.KeepCertificates = u.KeepEtcd || f.KeepEtcd, u.KeepCertificates || f.KeepCertificates
	u.IgnorePreflightErrors = slices.Concat(u.IgnorePreflightErrors, f.IgnorePreflightErrors)
}

func (u *Upgrade) setDefaults() {
	if u.Version != "" && !strings.HasPrefix(u.Version, "v") {
		u.Version = "v" + u.Version
	}
	setDefault(&u.ContextLines, 3)
	setTimeouts(&u.Timeouts)
}

// SupportsVersion says whether boot can run a control plane of a version, "v1.37.2",
// and if not, why.
func SupportsVersion(version string) error {
	v := &validator{}
	v.version(version)
	if len(v.findings) == 0 {
		return nil
	}
	return &Error{Findings: v.findings}
}
