package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"boot.internal/nstest"
)

// A sandbox may do nothing that the engine's default profile forbids.
func TestSandboxProfileIsStricter(t *testing.T) {
	var ours specs.LinuxSeccomp
	d := json.NewDecoder(bytes.NewReader(sandboxProfile))
	d.DisallowUnknownFields()
	if err := d.Decode(&ours); err != nil {
		t.Fatal(err)
	}
	theirs := seccomp.DefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}})
	if ours.DefaultAction != specs.ActErrno || theirs.DefaultAction != specs.ActErrno {
		t.Errorf("what is not named: %s here, %s by default", ours.DefaultAction, theirs.DefaultAction)
	}
	rules := func(of *specs.LinuxSeccomp) map[string][]specs.LinuxSyscall {
		all := map[string][]specs.LinuxSyscall{}
		for _, s := range of.Syscalls {
			for _, name := range s.Names {
				s.Names = nil
				all[name] = append(all[name], s)
			}
		}
		return all
	}
	known := rules(theirs)
	for name, list := range rules(&ours) {
		for _, rule := range list {
			same := func(r specs.LinuxSyscall) bool { return fmt.Sprintf("%+v", r) == fmt.Sprintf("%+v", rule) }
			if rule.Action == specs.ActAllow && !slices.ContainsFunc(known[name], same) {
				t.Errorf("%s is allowed as %+v, by default as %+v", name, rule, known[name])
			}
		}
	}
}

func TestRealSandboxIsConfined(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	mustStart(t, e)
	mustImportPause(t, e)
	p := runPause(t, e)
	defer p.remove(t)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid.PID))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(status), "Seccomp:\t2\n") {
		t.Errorf("no filter:\n%s", status)
	}
	p.mustRun(t)
}
