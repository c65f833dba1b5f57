package phases

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func selectable() []Step {
	var steps []Step
	for _, name := range []string{"preflight", "certs/etcd-ca", "etcd/local", "certs/ca", "certs/apiserver", "certsish", "certs/ca"} {
		steps = append(steps, Step{Name: name, Desc: "do " + name})
	}
	return steps
}

func TestListKeepsGroupsTogether(t *testing.T) {
	want := []Entry{
		{"preflight", "do preflight"},
		{"certs", "Generate certificates"},
		{"certs/etcd-ca", "do certs/etcd-ca"},
		{"certs/ca", "do certs/ca"},
		{"certs/apiserver", "do certs/apiserver"},
		{"etcd", "Generate the static Pod manifest of a local etcd"},
		{"etcd/local", "do etcd/local"},
		{"certsish", "do certsish"},
	}
	if diff := cmp.Diff(want, List(selectable())); diff != "" {
		t.Fatal(diff)
	}
}

func TestOnlyAndSkipping(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"preflight", "preflight"},
		{"certs", "certs/etcd-ca certs/ca certs/apiserver certs/ca"},
		{"certs/all", "certs/etcd-ca certs/ca certs/apiserver certs/ca"},
		{"certs/ca", "certs/ca certs/ca"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			only, err := Only(selectable(), tt.name)
			if err != nil {
				t.Fatal(err)
			}
			skip, err := Skipping(selectable(), []string{tt.name})
			if err != nil {
				t.Fatal(err)
			}
			var selected, skipped []string
			for _, s := range only {
				selected = append(selected, s.Name)
			}
			for _, s := range selectable() {
				if skip(s.Name) {
					skipped = append(skipped, s.Name)
				}
			}
			if got := strings.Join(selected, " "); got != tt.want {
				t.Errorf("Only selects %s, want %s", got, tt.want)
			}
			if got := strings.Join(skipped, " "); got != tt.want {
				t.Errorf("Skipping skips %s, want %s", got, tt.want)
			}
		})
	}
}

func TestUnknownPhaseIsRefusedWithTheNames(t *testing.T) {
	_, only := Only(selectable(), "cert")
	_, skipping := Skipping(selectable(), []string{"preflight", "cert"})
	for _, err := range []error{only, skipping} {
		var h interface{ Hint() string }
		if !errors.As(err, &h) || !strings.Contains(h.Hint(), "certs/ca") || err.Error() != `no phase is called "cert"` {
			t.Errorf("error %v", err)
		}
	}
}
