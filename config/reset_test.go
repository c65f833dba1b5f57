package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestLoadReset(t *testing.T) {
	const head = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ResetConfiguration\n"
	tests := []struct {
		name  string
		data  []byte
		flags ResetFlags
		want  *ResetConfiguration
		err   string
	}{
		{name: "default", want: &ResetConfiguration{CertificatesDir: DefaultCertificatesDir}},
		{
			name:  "flags",
			flags: ResetFlags{CertDir: "/pki", CRISocket: "unix:///s", CleanupTmpDir: true, DryRun: true, Force: true, SkipPhases: []string{"a"}},
			want:  &ResetConfiguration{CertificatesDir: "/pki", CRISocket: "unix:///s", CleanupTmpDir: true, DryRun: true, Force: true, SkipPhases: []string{"a"}},
		},
		{
			name:  "file and flags",
			data:  []byte(head + "ignorePreflightErrors: [A]\nunmountFlags: [MNT_DETACH]\n"),
			flags: ResetFlags{IgnorePreflightErrors: []string{"B"}},
			want:  &ResetConfiguration{CertificatesDir: DefaultCertificatesDir, IgnorePreflightErrors: []string{"A", "B"}, UnmountFlags: []string{"MNT_DETACH"}},
		},
		{
			name: "mixed", data: []byte(head), flags: ResetFlags{CertDir: "/pki"},
			err: "read reset.yaml: --cert-dir: can not be mixed with --config; set certificatesDir of ResetConfiguration in the file",
		},
		{
			name: "wrong", data: []byte(head + "certificatesDir: pki\nunmountFlags: [UMOUNT]\n"),
			err: `read reset.yaml: 2 problems
  document 1 (ResetConfiguration), line 3, column 18: certificatesDir: "pki" is not an absolute path
  document 1 (ResetConfiguration), line 4, column 15: unmountFlags: "UMOUNT" is not known; use one of MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW`,
		},
		{name: "unreadable", data: []byte(head + "force: maybe\n"), err: "read reset.yaml: document 1 (ResetConfiguration), line 3, column 8: force: expected a boolean, found a string"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := LoadReset(ResetOptions{Path: "reset.yaml", Data: tt.data, Flags: tt.flags})
			if tt.data == nil { // a path alone would be read
				got, err = LoadReset(ResetOptions{Flags: tt.flags})
			}
			if err != nil || tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("error %v; want %s", err, tt.err)
				}
				return
			}
			if got.Timeouts == nil || got.Kind != kindReset {
				t.Errorf("not defaulted: %+v", got)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(ResetConfiguration{}, "TypeMeta", "Timeouts")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
