package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// TestMigrate runs the cases in testdata/migrate: each is a file and what comes of
// it.
func TestMigrate(t *testing.T) {
	eachCase(t, "migrate", func(name string, data []byte) string {
		got, err := Migrate(name, data)
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		// What was made is what boot reads, and needs no further migration.
		again, err := Migrate(name, got)
		if err != nil {
			t.Errorf("%s: migrate the result: %v", name, err)
		}
		if diff := cmp.Diff(string(got), string(again)); diff != "" {
			t.Errorf("%s: migrated again, it changes: %s", name, diff)
		}
		return string(got)
	})
}

// TestPrint compares what is printed for people to start from, and checks that boot
// itself finds nothing wrong with it.
func TestPrint(t *testing.T) {
	both := []string{kindKubelet, kindKubeProxy}
	for name, documents := range map[string]func() ([]byte, error){
		"init.yaml":            func() ([]byte, error) { return PrintInit(nil) },
		"init-components.yaml": func() ([]byte, error) { return PrintInit(both) },
		"join.yaml":            func() ([]byte, error) { return PrintJoin(nil) },
		"reset.yaml":           PrintReset,
		"upgrade.yaml":         PrintUpgrade,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := documents()
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata/print", name)
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Error(diff)
			}
			if warnings, err := Check(name, got); err != nil || len(warnings) > 0 {
				t.Errorf("check: %v, warnings %q", err, warnings)
			}
		})
	}
	if _, err := PrintInit([]string{"EtcdConfiguration"}); err == nil || !strings.Contains(err.Error(), kindKubelet) {
		t.Errorf("an unknown component: %v", err)
	}
}

// TestCheck runs the cases in testdata/check: each is a file and what is wrong with
// it.
func TestCheck(t *testing.T) {
	eachCase(t, "check", func(name string, data []byte) string {
		warnings, err := Check(name, data)
		var b strings.Builder
		for _, w := range warnings {
			b.WriteString("warning: " + w + "\n")
		}
		if err != nil {
			b.WriteString("error: " + err.Error() + "\n")
		}
		return b.String()
	})
}

// eachCase runs the cases of a directory: a file, and in "want" what f makes of it.
func eachCase(t *testing.T, dir string, f func(name string, data []byte) string) {
	t.Helper()
	cases, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := f(ar.Files[0].Name, ar.Files[0].Data)
			if *update {
				ar.Files = append(ar.Files[:1:1], txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(ar.Files[1].Data), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
