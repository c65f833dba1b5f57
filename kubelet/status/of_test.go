package status_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/plan/scene"
	"boot.internal/kubelet/status"
)

var update = flag.Bool("update", false, "rewrite testdata with what the code says now")

// Each file in testdata is a list of scenes (see package scene), each with "----"
// and the status below it. A scene with a comment "removed" is of a pod that
// nobody wants any more.
func TestOf(t *testing.T) {
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
				out = append(out, in+"\n----\n"+describe(of(t, in)))
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

func input(t *testing.T, text string) status.Input {
	t.Helper()
	s, err := scene.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	in := status.Input{
		Pod: s.Want.Pod, Stop: s.Want.Stop, Have: s.Have, Prev: s.Prev, Now: s.Now,
		HostIPs: []string{"192.168.0.1", "fd00::1"}, Runtime: "containerd",
	}
	for _, c := range s.Comments {
		in.Removed = in.Removed || c == "removed"
	}
	return in
}

// of makes a status, and makes sure that it changes nothing of what it is given.
func of(t *testing.T, text string) v1.PodStatus {
	t.Helper()
	in := input(t, text)
	s := status.Of(in)
	if diff := cmp.Diff(input(t, text), in); diff != "" {
		t.Errorf("%s\nchanged\n%s", text, diff)
	}
	return s
}

// describe prints what there is to say of a status, in the order of interest.
func describe(s v1.PodStatus) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n", s.Phase, because(s.Reason, s.Message))
	var good []string
	for _, c := range s.Conditions {
		name := string(c.Type)
		if ago := scene.Now().Sub(c.LastTransitionTime.Time); ago > 0 {
			name += fmt.Sprintf(" since %s", ago)
		}
		if c.Status == v1.ConditionTrue && c.Reason == "" {
			good = append(good, name)
		} else {
			fmt.Fprintf(&b, "%s %s%s\n", name, c.Status, because(c.Reason, c.Message))
		}
	}
	fmt.Fprintf(&b, "true: %s\n", strings.Join(good, ", "))
	for _, list := range [][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for _, c := range list {
			fmt.Fprintf(&b, "%s %s%s\n", c.Name, state(c.State), details(c))
		}
	}
	return strings.TrimSpace(b.String())
}

func because(reason, message string) string {
	if reason == "" {
		return ""
	}
	if message == "" {
		return " (" + reason + ")"
	}
	return " (" + reason + ": " + message + ")"
}

func state(s v1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "running"
	case s.Terminated != nil:
		return fmt.Sprintf("terminated %d%s", s.Terminated.ExitCode, because(s.Terminated.Reason, s.Terminated.Message))
	case s.Waiting != nil:
		return "waiting" + because(s.Waiting.Reason, s.Waiting.Message)
	}
	return "without a state"
}

func details(c v1.ContainerStatus) string {
	var all string
	if c.Started != nil && *c.Started {
		all += ", started"
	}
	if c.Ready {
		all += ", ready"
	}
	if c.RestartCount > 0 {
		all += fmt.Sprintf(", restarts %d", c.RestartCount)
	}
	if c.LastTerminationState.Terminated != nil {
		all += ", last " + state(c.LastTerminationState)
	}
	return all
}
