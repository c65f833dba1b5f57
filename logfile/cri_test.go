package logfile

import "testing"

func TestWithoutPrefix(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"2026-01-02T03:04:05.678901234Z stderr F E0102 failed: a b", "E0102 failed: a b"},
		{"2026-01-02T03:04:05.678901234+02:00 stdout P part", "part"},
		{"not a CRI line at all", "not a CRI line at all"},
		{"2026-01-02T03:04:05.678901234Z stderr F", ""},
		{"2026-01-02T03:04:05.678901234Z stderr F ", ""},
		{"short", "short"},
	} {
		if got := WithoutPrefix(tt.line); got != tt.want {
			t.Errorf("%q: %q", tt.line, got)
		}
	}
}
