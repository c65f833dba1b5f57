package phases

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"boot.internal/journal"
)

// asItComes gives a host a kernel as it comes.
func (h *testHost) asItComes() {
	h.t.Helper()
	h.file("proc/sys/vm/overcommit_memory", "0\n")
	h.file("proc/sys/kernel/panic", "0\n")
	h.file("proc/sys/kernel/panic_on_oops", "0\n")
}

func TestKernelDefaults(t *testing.T) {
	h := newTestHost(t)
	h.asItComes()
	if err := (Runner{}).Run(t.Context(), []Step{{Name: "host", Phase: h.p.readiness().phase()}}); err != nil {
		t.Fatal(err)
	}
	for _, s := range kernelDefaults() {
		if have, err := h.sysctlInt(s.name); err != nil || have != s.want {
			t.Errorf("%s is %d, %v; want %d", s.name, have, err, s.want)
		}
	}
	noted, err := h.p.Journal.Entries()
	if err != nil {
		t.Fatal(err)
	}
	want := []journal.Entry{
		{Kind: journal.Sysctl, Name: "vm.overcommit_memory", Was: "0"},
		{Kind: journal.Sysctl, Name: "kernel.panic", Was: "0"},
		{Kind: journal.Sysctl, Name: "kernel.panic_on_oops", Was: "0"},
	}
	if diff := cmp.Diff(want, noted); diff != "" {
		t.Errorf("noted (-want +got):\n%s", diff)
	}
}

// Where they cannot be set, as in many containers, pods run all the same.
func TestKernelDefaultsThatCannotBeSet(t *testing.T) {
	h := newTestHost(t)
	h.asItComes()
	h.remove("proc/sys/kernel/keys")
	h.writable = func(string) bool { return false }
	changes, warnings, stops := h.plan()
	const id = "[FileContent--proc-sys-"
	want := []string{
		id + "vm-overcommit_memory] vm.overcommit_memory should be 1: it is 0 and cannot be written: run 'sysctl -w vm.overcommit_memory=1' where that is possible",
		id + "kernel-panic] kernel.panic should be 10: it is 0 and cannot be written: run 'sysctl -w kernel.panic=10' where that is possible",
		id + "kernel-panic_on_oops] kernel.panic_on_oops should be 1: it is 0 and cannot be written: run 'sysctl -w kernel.panic_on_oops=1' where that is possible",
		id + "kernel-keys-root_maxkeys] kernel.keys.root_maxkeys should be 1000000: the kernel does not have it: run 'sysctl -w kernel.keys.root_maxkeys=1000000' where that is possible",
		id + "kernel-keys-root_maxbytes] kernel.keys.root_maxbytes should be 25000000: the kernel does not have it: run 'sysctl -w kernel.keys.root_maxbytes=25000000' where that is possible",
	}
	if diff := cmp.Diff(want, warnings); diff != "" || len(stops) > 0 {
		t.Errorf("changes %q, stops %q, warnings (-want +got):\n%s", changes, stops, diff)
	}
}

func TestProtectedKernelDefaults(t *testing.T) {
	h := newTestHost(t)
	h.p.Config.Kubelet.ProtectKernelDefaults = true
	ready := Step{Name: "host", Phase: h.p.readiness().phase()}
	if err := (Runner{}).Run(t.Context(), []Step{ready}); err != nil {
		t.Errorf("a host that has them: %v", err)
	}
	h.asItComes()
	changes, _, stops := h.plan()
	if len(stops) != 3 || !strings.HasPrefix(stops[1], "[FileContent--proc-sys-kernel-panic] kernel.panic is 0 and should be 10, and protectKernelDefaults forbids to change it: run ") {
		t.Errorf("changes %q, stops %q", changes, stops)
	}
	err := (Runner{}).Run(t.Context(), []Step{ready})
	refused, ok := errors.AsType[*ProtectedError](err)
	if !ok || !strings.Contains(err.Error(), "vm.overcommit_memory is 0 and should be 1") || !strings.Contains(refused.Hint(), "'sysctl -w kernel.panic_on_oops=1'") {
		t.Errorf("%v", err)
	}
	if have, err := h.sysctlInt("kernel.panic"); have != 0 || err != nil {
		t.Errorf("kernel.panic is %d, %v", have, err)
	}
	h.ignore("all")
	if _, _, stops := h.plan(); len(stops) > 0 {
		t.Errorf("stops %q", stops)
	}
	h.remove("proc/sys/kernel/panic")
	if lost := h.p.readiness().lost(); len(lost) != 3 || lost[1].Warning || !strings.Contains(lost[1].Text, "kernel.panic cannot be read") {
		t.Errorf("lost %v", lost)
	}
}
