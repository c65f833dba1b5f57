package plan_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/plan/scene"
)

// What is wanted is shared between goroutines: a plan changes nothing of what it
// is given, in any scene of testdata.
func TestChangesNothing(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.SplitSeq(string(raw), "\n\n") {
			in, _, _ := strings.Cut(text, "\n----")
			used, err := scene.Parse(in)
			if err != nil {
				t.Fatal(err)
			}
			untouched, _ := scene.Parse(in)
			plan.For(used.Want, used.Have, used.Now)
			if diff := cmp.Diff(untouched, used); diff != "" {
				t.Errorf("%s\nchanged\n%s", in, diff)
			}
		}
	}
}

func TestEnding(t *testing.T) {
	for _, c := range []struct {
		name, scene string
		nobody      bool
		want        bool
	}{
		{"a pod that runs", "pod\nregular a\nsandbox s\nis a running", false, false},
		{"a pod that is new", "pod\nregular a", false, false},
		{"SP-44 nobody wants it", "sandbox s\nis a running", true, true},
		{"SP-44 it is to stop", "pod\nregular a\nstop\nsandbox s", false, true},
		{"SP-37 another UID is in its place", "pod uid=2\nregular a\nsandbox s uid=1", false, true},
		{"SP-37 containers of another UID, outside any sandbox", "pod uid=2\nregular a\nis a exited uid=1 in=lost", false, true},
		{"remains of another UID beside it", "pod uid=2\nregular a\nsandbox t uid=2\nsandbox s uid=1", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := scene.Parse(c.scene)
			if err != nil {
				t.Fatal(err)
			}
			if got := plan.Ending(s.Want, s.Have); got != c.want {
				t.Errorf("ending %v, want %v", got, c.want)
			}
		})
	}
}

// Every sentence that is the plan's business has a scene that names it.
func TestSentences(t *testing.T) {
	var all strings.Builder
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(raw)
	}
	for sentence := range strings.FieldsSeq(`IC-4 IC-5 IC-6 IC-7 IC-8 IC-9 IC-10 IC-11 IC-12 IC-13 IC-14 IC-15 IC-16 IC-17
		IC-18 IC-19 IC-20 IC-21 IC-22 IC-23 IC-24 IC-25 IC-32 IC-33 IC-34 IC-35 IC-37
		SP-37 SP-38 SP-39 SP-40 SP-41 SP-42 SP-43 SP-44 SP-46 SP-47`) {
		if !strings.Contains(all.String(), sentence+":") && !strings.Contains(all.String(), sentence+",") {
			t.Errorf("no scene names %s", sentence)
		}
	}
}

func BenchmarkFor(b *testing.B) {
	for name, text := range map[string]string{
		"running": "pod\nregular etcd\nsandbox s\nis etcd running\nprobe etcd-0 started ready",
		"sidecars": "pod\ninit i1\nsidecar s1 startup\nsidecar s2\nregular a\nregular b\nsandbox s\nis b running\nis a running\n" +
			"is s2 running\nis s1 running\nis i1 exited\nprobe s1-0 started",
		"removed": "sandbox s\nis b running kind=regular\nis a running kind=regular\nis s1 running kind=sidecar",
	} {
		b.Run(name, func(b *testing.B) {
			s, err := scene.Parse(text)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			var n plan.Next
			for b.Loop() {
				n = plan.For(s.Want, s.Have, s.Now)
			}
			if s.Want != nil && len(n.Actions) > 0 {
				b.Error(n.Actions)
			}
		})
	}
}
