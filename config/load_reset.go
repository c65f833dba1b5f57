package config

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ResetOptions is all that [LoadReset] looks at.
type ResetOptions struct {
	// Path is the configuration file (--config); empty for none.
	Path string
	// Data, when not nil, is read instead of the file; Path then only names it
	// in errors.
	Data []byte
	// Flags are what was given on the command line.
	Flags ResetFlags
}

// ResetFlags are the flags of "boot reset" that have a say in the
// configuration. The zero value of a field means that the flag was not given.
type ResetFlags struct {
	CertDir               string   // --cert-dir
	CleanupTmpDir         bool     // --cleanup-tmp-dir
	CRISocket             string   // --cri-socket
	DryRun                bool     // --dry-run
	Force                 bool     // --force
	IgnorePreflightErrors []string // --ignore-preflight-errors
	SkipPhases            []string // --skip-phases
}

// LoadReset reads the configuration file, applies the flags, fills in what is
// missing and checks the result, like [LoadInit].
func LoadReset(o ResetOptions) (*ResetConfiguration, error) {
	data, err := readSource(o.Path, o.Data)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	docs, err := decode(o.Path, data)
	if err != nil {
		return nil, err
	}
	r := &ResetConfiguration{}
	copyTo(r, docs.Reset)
	v := newValidator(o.Path, docs)
	v.apply(o.Flags.settings(r), data != nil)
	r.setDefaults()
	v.reset(r)
	if err := v.err(); err != nil {
		return nil, err
	}
	return r, nil
}

func (f ResetFlags) settings(r *ResetConfiguration) []flagSetting {
	text := func(flag, value, path string, to *string) flagSetting {
		return flagSetting{name: flag, given: value != "", kind: kindReset, path: path, apply: func() { *to = value }}
	}
	on := func(flag string, given bool, path string, to *bool) flagSetting {
		return flagSetting{name: flag, given: given, kind: kindReset, path: path, withFile: true, apply: func() { *to = true }}
	}
	return []flagSetting{
		text("--cert-dir", f.CertDir, "certificatesDir", &r.CertificatesDir),
		text("--cri-socket", f.CRISocket, "criSocket", &r.CRISocket),
		on("--cleanup-tmp-dir", f.CleanupTmpDir, "cleanupTmpDir", &r.CleanupTmpDir),
		on("--dry-run", f.DryRun, "dryRun", &r.DryRun),
		on("--force", f.Force, "force", &r.Force),
		{
			name: "--ignore-preflight-errors", given: len(f.IgnorePreflightErrors) > 0, withFile: true,
			kind: kindReset, path: "ignorePreflightErrors",
			apply: func() { r.IgnorePreflightErrors = append(r.IgnorePreflightErrors, f.IgnorePreflightErrors...) },
		},
		{
			name: "--skip-phases", given: len(f.SkipPhases) > 0, kind: kindReset, path: "skipPhases", withFile: true,
			apply: func() { r.SkipPhases = slices.Clone(f.SkipPhases) },
		},
	}
}

func (r *ResetConfiguration) setDefaults() {
	r.TypeMeta = metav1.TypeMeta{APIVersion: KubeadmAPIVersion, Kind: kindReset}
	setDefault(&r.CertificatesDir, DefaultCertificatesDir)
	setTimeouts(&r.Timeouts)
}

func (v *validator) reset(r *ResetConfiguration) {
	v.absolute(kindReset, "certificatesDir", r.CertificatesDir)
	v.socket(kindReset, "criSocket", r.CRISocket)
	v.timeouts(kindReset, r.Timeouts)
	for _, flag := range r.UnmountFlags {
		v.oneOf(kindReset, "unmountFlags", flag, "MNT_FORCE", "MNT_DETACH", "MNT_EXPIRE", "UMOUNT_NOFOLLOW")
	}
}
