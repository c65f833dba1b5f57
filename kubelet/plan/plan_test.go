package plan_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/plan/scene"
	"boot.internal/kubelet/pod"
)

var update = flag.Bool("update", false, "rewrite testdata with what the code says now")

// Each file in testdata is a list of scenes (see package scene), each with "----"
// and its plan below it. The comment over a scene names the sentence of the
// specification it shows.
func TestPlan(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for text := range strings.SplitSeq(strings.TrimSpace(string(raw)), "\n\n") {
				in, _, _ := strings.Cut(text, "\n----")
				out = append(out, in+"\n----\n"+planned(t, in))
			}
			got := strings.Join(out, "\n\n") + "\n"
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(string(raw), got); diff != "" {
				t.Errorf("run with -update and read the diff of %s\n%s", file, diff)
			}
		})
	}
}

func planned(t *testing.T, text string) string {
	t.Helper()
	s, err := scene.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return describe(plan.For(s.Want, s.Have, s.Now))
}

// describe prints a plan with what its actions do not say of themselves.
func describe(n plan.Next) string {
	var lines []string
	for _, a := range n.Actions {
		line := a.String()
		switch a := a.(type) {
		case pod.KillContainer:
			if a.Hook {
				line += " with preStop"
			}
		case pod.StartContainer:
			if a.Backoff > 0 {
				line += fmt.Sprintf(", the next one waits %s", a.Backoff)
			}
		}
		lines = append(lines, line)
	}
	if n.Wake > 0 {
		lines = append(lines, fmt.Sprintf("wake in %s", n.Wake))
	}
	if n.Done {
		lines = append(lines, "done")
	}
	if n.Gone {
		lines = append(lines, "gone")
	}
	if len(lines) == 0 {
		return "nothing"
	}
	return strings.Join(lines, "\n")
}
