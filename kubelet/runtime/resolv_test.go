package runtime

import (
	"os"
	"path/filepath"
	"testing"
)

func TestResolvConf(t *testing.T) {
	const (
		stub   = "# a comment\nnameserver 127.0.0.53\noptions edns0\n"
		behind = "nameserver 192.0.2.1\n"
	)
	for name, tt := range map[string]struct {
		path  string // as configured
		files map[string]string
		want  string
	}{
		"none asked for":           {path: "", files: map[string]string{hostResolvConf: behind}},
		"none there":               {path: hostResolvConf},
		"a server":                 {path: hostResolvConf, files: map[string]string{hostResolvConf: behind, resolvedResolvConf: "nameserver 192.0.2.2"}, want: behind},
		"the stub of resolved":     {path: hostResolvConf, files: map[string]string{hostResolvConf: stub, resolvedResolvConf: behind}, want: behind},
		"the stub beside a server": {path: hostResolvConf, files: map[string]string{hostResolvConf: stub + behind, resolvedResolvConf: "x"}, want: stub + behind},
		"a stub of IPv6":           {path: hostResolvConf, files: map[string]string{hostResolvConf: "nameserver ::1\n", resolvedResolvConf: behind}, want: behind},
		"a stub of somebody else":  {path: hostResolvConf, files: map[string]string{hostResolvConf: stub}, want: stub},
		"another file":             {path: "/etc/mine", files: map[string]string{"/etc/mine": stub, resolvedResolvConf: behind}, want: stub},
		"no server":                {path: hostResolvConf, files: map[string]string{hostResolvConf: "search a.b\n", resolvedResolvConf: behind}, want: "search a.b\n"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range tt.files {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := resolvConfIn(root, tt.path)
			if err != nil || string(got) != tt.want || (got == nil) != (tt.path == "") {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
}
