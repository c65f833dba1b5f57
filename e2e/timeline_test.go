package e2e

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"boot.internal/e2e/internal/lab"
	"boot.internal/ttytest"
)

// A bring-up as "boot timeline -o json" tells it.
type toldTimeline struct {
	Command, Node string
	Seconds       float64
	Missing       []string
	CriticalPath  []struct {
		At, Seconds, Share float64
		What, Kind         string
	}
}

// What a script is told while a node comes up and goes, and what is known of how it
// came up: all of it on one machine whose images come from archives.
func TestTimeline(t *testing.T) {
	t.Parallel()
	n := machine(t)
	none, err := n.Try(t.Context(), lab.BootBinary(t), "timeline")
	if err != nil || none.Code != 1 || !strings.Contains(none.Stderr, "nothing is known") {
		t.Errorf("before there is anything: %v %+v", err, none)
	}
	events := n.Boot(t, append([]string{"init", "-o", "json"}, anyDisk(t, n)...)...)
	t.Run("events of init", func(t *testing.T) { checkEvents(t, events) })
	waitReady(t, n)
	awaitCoreDNS(t, n.Client(t, adminConf)) // it comes last
	t.Run("critical path", func(t *testing.T) { checkPath(t, n) })
	t.Run("picture", func(t *testing.T) { checkPicture(t, n.Boot(t, "timeline", "-o", "svg")) })
	t.Run("what changes nothing is no bring-up", func(t *testing.T) { checkIdle(t, n) })
	t.Run("on a terminal", func(t *testing.T) { checkTerminal(t, n) })
	if n.Exists(t, "/var/lib/boot/timeline") {
		t.Error("the timeline is there after the reset")
	}
}

// A toldEvent is a line of "-o json".
type toldEvent struct {
	Time, Type, Phase, State, Text, Error, Kubeconfig string
	Number, Of                                        int
	ExitCode                                          *int
	Join                                              []string
}

// eventsOf reads what a command says with "-o json".
func eventsOf(t *testing.T, output string) (all []toldEvent) {
	t.Helper()
	for line := range strings.Lines(output) {
		var e toldEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// checkIdle runs init until there is nothing left to do, not even to wait for somebody
// who does not answer at once, as may be on a busy machine.
func checkIdle(t *testing.T, n *lab.Node) {
	if list := n.Boot(t, "timeline", "--list"); strings.Count(list, "\n") != 2 {
		t.Errorf("after one bring-up:\n%s", list)
	}
	lab.Until(t, patience, "see an init that changes nothing", func(context.Context) error {
		before := n.Boot(t, "timeline", "--list")
		said := n.Boot(t, append([]string{"init", "-o", "json"}, anyDisk(t, n)...)...)
		if slices.ContainsFunc(eventsOf(t, said), func(e toldEvent) bool { return e.State == "changing" }) {
			return errors.New(said)
		}
		if after := n.Boot(t, "timeline", "--list"); strings.Count(after, "\n") != strings.Count(before, "\n") {
			t.Errorf("before:\n%safter:\n%s", before, after)
		}
		return nil
	})
}

func checkEvents(t *testing.T, output string) {
	all := eventsOf(t, output)
	last := all[len(all)-1]
	if last.Type != "result" || last.State != "done" || last.ExitCode == nil || *last.ExitCode != 0 || last.Kubeconfig != adminConf || len(last.Join) == 0 {
		t.Errorf("the result is %+v", last)
	}
	has := func(phase, state, text string) bool {
		return slices.ContainsFunc(all, func(e toldEvent) bool {
			return e.Type == "event" && e.Phase == phase && e.State == state && strings.Contains(e.Text, text) && e.Number > 0 && e.Of > e.Number
		})
	}
	if !has("certs/ca", "started", "") || !has("certs/ca", "changing", "ca.crt") || !has("certs/ca", "done", "") ||
		!has("wait-control-plane", "waiting", "kube-apiserver") || !has("wait-control-plane", "because", "kube-apiserver") {
		t.Errorf("events are missing:\n%s", output)
	}
}

func checkPath(t *testing.T, n *lab.Node) {
	var told toldTimeline
	lab.Until(t, patience, "see a whole timeline", func(context.Context) error {
		told = toldTimeline{}
		if err := json.Unmarshal([]byte(n.Boot(t, "timeline", "-o", "json")), &told); err != nil {
			return err
		}
		if len(told.Missing) > 0 {
			return errors.New(strings.Join(told.Missing, ", "))
		}
		return nil
	})
	sum, share := 0.0, 0.0
	kinds := map[string]bool{}
	for _, s := range told.CriticalPath {
		if math.Abs(s.At-sum) > 0.001 {
			t.Errorf("%s begins at %.3f s, what was before ended at %.3f s", s.What, s.At, sum)
		}
		sum, share = sum+s.Seconds, share+s.Share
		kinds[s.Kind] = true
	}
	if math.Abs(sum-told.Seconds) > 0.01 || math.Abs(share-1) > 0.001 {
		t.Errorf("the path takes %.3f s (%.3f) of %.3f s", sum, share, told.Seconds)
	}
	made := kinds["sandbox"] || kinds["image"] || kinds["create"] // what of a pod's making is waited for is the machine's to say
	if told.Command != "init" || told.Node != n.Name || !kinds["health"] && !kinds["ready"] || !kinds["engine"] || !made {
		t.Errorf("the path is %+v", told)
	}
	text := n.Boot(t, "timeline")
	started := func(component string) bool { return strings.Contains(text, component+": start → ") } // be it healthy or ready, and whoever was the last
	if !slices.ContainsFunc(components(), started) || !strings.Contains(text, "node: Ready") {
		t.Errorf("as text:\n%s", text)
	}
	t.Log(text)
}

// checkPicture makes sure that the picture is well-formed and has everything in it.
func checkPicture(t *testing.T, svg string) {
	d, names := xml.NewDecoder(strings.NewReader(svg)), map[string]bool{}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok {
			names[string(text)] = true
			for part := range strings.SplitSeq(string(text), ": ") {
				names[part] = true
			}
		}
	}
	for _, want := range append(components(), "critical path", "phases", "images", "node") {
		if !names[want] {
			t.Errorf("there is no %s in it", want)
		}
	}
	if strings.Count(svg, "mirror pod&#xA;") != len(components()) || strings.Count(svg, "pod Ready&#xA;") < len(components()) {
		t.Errorf("mirrors %d, Ready %d", strings.Count(svg, "mirror pod&#xA;"), strings.Count(svg, "pod Ready&#xA;"))
	}
}

// checkTerminal interrupts an init while it waits for the control plane, and resets
// the node: both leave on the terminal what a person wants to read, and no more.
func checkTerminal(t *testing.T, n *lab.Node) {
	n.Boot(t, "reset", "--force")
	tty, cmd := onTerminal(t, n, append([]string{"init"}, anyDisk(t, n)...)...)
	tty.Await("the wait", func(s string) bool {
		return strings.Contains(s, "… wait-control-plane") && strings.Contains(s, "    node agent: ")
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Error(err)
	}
	tty.Await("why it ended", ttytest.Sees("\nerror: phase wait-control-plane: "))
	screen := tty.Screen()
	if !strings.Contains(screen, "✔ certs/ca  ") || !strings.Contains(screen, "\n✘ wait-control-plane  failed after ") || strings.Contains(screen, "… ") {
		t.Errorf("the screen:\n%s", screen)
	}
	tty, cmd = onTerminal(t, n, "reset", "--force")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	tty.Await("the end", ttytest.Sees("\nThe node is reset.\n"))
	if screen := tty.Screen(); strings.Contains(screen, "… ") || !strings.Contains(screen, "✔ ") {
		t.Errorf("the screen:\n%s", screen)
	}
}

// onTerminal runs boot on a terminal.
func onTerminal(t *testing.T, n *lab.Node, args ...string) (*ttytest.TTY, *exec.Cmd) {
	t.Helper()
	tty := ttytest.Open(t, 100, 40)
	cmd := n.Command(t.Context(), append([]string{lab.BootBinary(t)}, args...)...)
	cmd.Env = append(cmd.Env, "TERM=xterm", "LC_ALL=C.UTF-8")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty.File, tty.File, tty.File
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	return tty, cmd
}
