package e2e

import (
	"strings"
	"testing"

	"boot.internal/e2e/internal/lab"
)

// kernelDropIn has the loop leave the kernel as it is.
const kernelDropIn = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
protectKernelDefaults: true
`

// TestKernelSettings has the loop set the kernel as every kubelet does, and refuse a
// node that is set otherwise where it must not.
func TestKernelSettings(t *testing.T) {
	s := newStandalone(t)
	settings := func() string {
		return strings.Join(strings.Fields(s.node.Run(t, "cat", "/proc/sys/vm/overcommit_memory", "/proc/sys/vm/panic_on_oom",
			"/proc/sys/kernel/panic", "/proc/sys/kernel/panic_on_oops")), " ")
	}
	if is := settings(); is != "1 0 10 1" {
		t.Errorf("the loop has set %s", is)
	}
	s.kill(t)
	s.node.WriteFile(t, dropIns+"/20-kernel.conf", kernelDropIn)
	s.start(t) // for nothing has to be changed
	s.kill(t)
	s.node.Run(t, "sh", "-c", "echo 0 >/proc/sys/kernel/panic")
	cmd := s.node.Command(t.Context(), lab.BootBinary(t), "kubelet", "--config", "/etc/kubelet.yaml", "--config-dir", dropIns)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := s.node.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the loop went well")
	}
	s.log.says(t, "kernel.panic is 0 and should be 10, and protectKernelDefaults forbids to change it")
	if is := settings(); is != "1 0 0 1" {
		t.Errorf("it has set %s", is)
	}
	s.node.Remove(t, dropIns+"/20-kernel.conf")
	s.start(t)
	if is := settings(); is != "1 0 10 1" {
		t.Errorf("the loop has set %s", is)
	}
}
