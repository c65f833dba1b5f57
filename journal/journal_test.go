package journal

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustHold(t *testing.T, j *Journal, want ...Entry) {
	t.Helper()
	got, err := j.Entries()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFirstNotesWin(t *testing.T) {
	j := At(filepath.Join(t.TempDir(), "boot", "journal.json"))
	mustHold(t, j)
	forward := Entry{Sysctl, "net.ipv4.ip_forward", "0"}
	if err := j.Note(t.Context(), forward, Entry{Kind: Module, Name: "br_netfilter"}); err != nil {
		t.Fatal(err)
	}
	if err := j.Note(t.Context(), Entry{Sysctl, "net.ipv4.ip_forward", "1"}, Entry{Kind: Found, Name: "br_netfilter"}); err != nil {
		t.Fatal(err)
	}
	mustHold(t, j, forward, Entry{Kind: Module, Name: "br_netfilter"}, Entry{Kind: Found, Name: "br_netfilter"})
	if err := j.Drop(t.Context(), Entry{Kind: Module, Name: "br_netfilter"}); err != nil {
		t.Fatal(err)
	}
	mustHold(t, j, forward, Entry{Kind: Found, Name: "br_netfilter"})
}

func TestBegunOnceThereIsANode(t *testing.T) {
	j := At(filepath.Join(t.TempDir(), "journal.json"))
	for _, step := range []struct {
		note Entry
		want bool
	}{
		{Entry{Kind: Module, Name: "br_netfilter"}, false},
		{Entry{Kind: Node, Name: "n1"}, true},
	} {
		if err := j.Note(t.Context(), step.note); err != nil {
			t.Fatal(err)
		}
		if begun, err := j.Begun(); begun != step.want || err != nil {
			t.Errorf("after %v: begun %v, %v", step.note, begun, err)
		}
	}
}

func TestNotesAtTheSameTime(t *testing.T) {
	j := At(filepath.Join(t.TempDir(), "journal.json"))
	var group sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		group.Go(func() {
			if err := At(j.Path()).Note(t.Context(), Entry{Kind: Module, Name: name}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got, err := j.Entries(); err != nil || len(got) != 4 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestADamagedJournalIsNotOverwritten(t *testing.T) {
	j := At(filepath.Join(t.TempDir(), "journal.json"))
	if err := os.WriteFile(j.Path(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := j.Note(t.Context(), Entry{Kind: Module, Name: "a"}); err == nil {
		t.Error("no error")
	}
	if data, err := os.ReadFile(j.Path()); err != nil || string(data) != "{" {
		t.Errorf("holds %q, %v", data, err)
	}
}
