package balancer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func addresses(b *Balancer) (all []string) {
	servers, _ := b.Servers()
	for _, s := range servers {
		all = append(all, s.Address)
	}
	return all
}

// What was learned is known after a restart, and the server of the first hour,
// which may be gone, is not all there is.
func TestRemember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "boot", "apiservers.json")
		o := Options{Seeds: []string{"seed:1"}, File: file, Log: slogTo(t), Roots: noRoots}
		b := New(o)
		b.Learn([]string{"b:1", "a:1"})
		b.Learn(nil) // says nothing
		want := []string{"a:1", "b:1", "seed:1"}
		if diff := cmp.Diff(want, addresses(New(o))); diff != "" {
			t.Error(diff)
		}
		b.Learn([]string{"b:1"})
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		const text = `{
  "servers": [
    {
      "address": "a:1",
      "left": "2000-01-01T00:00:00Z"
    },
    {
      "address": "b:1"
    }
  ]
}
`
		if diff := cmp.Diff(text, string(data)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(want, addresses(New(o))); diff != "" {
			t.Errorf("what has just left is forgotten: %s", diff)
		}
		time.Sleep(memory + time.Second)
		if diff := cmp.Diff([]string{"b:1", "seed:1"}, addresses(New(o))); diff != "" {
			t.Errorf("what has long left is not forgotten: %s", diff)
		}
	})
}

// A cluster whose API servers come and go does not fill the memory of its nodes.
func TestForget(t *testing.T) {
	b := New(Options{Log: slogTo(t)})
	for i := range 100 {
		b.Learn([]string{fmt.Sprintf("a%d:1", i)})
	}
	all := addresses(b)
	if len(all) != maxFormer+1 || !strings.Contains(strings.Join(all, " "), "a99:1") {
		t.Errorf("known are %q", all)
	}
}

func TestUnreadable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "apiservers.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := New(Options{Seeds: []string{"seed:1"}, File: file, Log: slogTo(t)})
	b.Learn([]string{"a:1"})
	if diff := cmp.Diff([]string{"a:1", "seed:1"}, addresses(New(b.o))); diff != "" {
		t.Error(diff)
	}
}
