package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"
)

// FuzzLoad wants every input to end in a value or in findings, never in
// another error and never in a panic.
func FuzzLoad(f *testing.F) {
	cases, err := filepath.Glob("testdata/init/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range cases {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			if file.Name != "want" && file.Name != "flags.json" {
				f.Add(file.Data)
			}
		}
	}
	printed, err := os.ReadFile("testdata/kubeadm/init-defaults.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(printed)
	f.Fuzz(func(t *testing.T, data []byte) {
		if data == nil {
			data = []byte{}
		}
		var bad *Error
		if _, err := LoadInit(InitOptions{Data: data, Host: testHost()}); err != nil && (!errors.As(err, &bad) || bad.Error() == "") {
			t.Errorf("init: %v", err)
		}
		if _, err := LoadKubelet(LoopOptions{Data: data}); err != nil && !errors.As(err, &bad) {
			t.Errorf("kubelet: %v", err)
		}
		if _, err := LoadReset(ResetOptions{Data: data}); err != nil && !errors.As(err, &bad) {
			t.Errorf("reset: %v", err)
		}
	})
}
