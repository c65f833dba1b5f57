package kubelet

import (
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/device"
	"boot.internal/kubelet/device/checkpoint"
	"boot.internal/kubelet/pod"
)

// SP-56: a mirror is of what runs until nothing of that runs any more.
func TestAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		have pod.Observed
		want bool
	}{
		"nothing":           {pod.Observed{}, true},
		"its own":           {pod.Observed{Sandboxes: []pod.Sandbox{{UID: "1", Ready: true}}, Containers: []pod.Container{{PodUID: "1", State: pod.Running}}}, true},
		"remains":           {pod.Observed{Sandboxes: []pod.Sandbox{{UID: "0"}}, Containers: []pod.Container{{PodUID: "0", State: pod.Exited}}}, true},
		"another's":         {pod.Observed{Containers: []pod.Container{{PodUID: "0", State: pod.Running}}}, false},
		"another's, hidden": {pod.Observed{Containers: []pod.Container{{PodUID: "0", State: pod.Unknown}}}, false},
		"another's sandbox": {pod.Observed{Sandboxes: []pod.Sandbox{{UID: "0", Ready: true}}}, false},
	} {
		if got := alone("1", tt.have); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// Whoever hears of the end of a pod finds that what it had is free.
func TestRoomBeforeTheEndIsSaid(t *testing.T) {
	dir := t.TempDir()
	if err := checkpoint.Store(filepath.Join(dir, "kubelet_internal_checkpoint"), []checkpoint.PodDevicesEntry{{
		PodUID: "1", ContainerName: "c", ResourceName: "example.com/d", DeviceIDs: checkpoint.DevicesPerNUMA{-1: {"0"}},
	}}, nil); err != nil {
		t.Fatal(err)
	}
	k, p := withClaims(t, "other"), claimer("1")
	free := false
	k.devices = device.New(device.Options{Dir: dir, Log: k.o.Logger, Changed: func() {
		if s, ok := k.writer.Get(p.UID); ok {
			t.Errorf("before its devices were taken back it was said that it is %s", s.Phase)
		}
		free = true
	}})
	if k.devices.Health(p.UID) == nil {
		t.Fatal("the pod has no devices")
	}
	k.sayOver(p, v1.PodStatus{Phase: v1.PodSucceeded})
	if s, _ := k.writer.Get(p.UID); !free || !k.isOver(p.UID) || s.Phase != v1.PodSucceeded {
		t.Errorf("taken back: %t, over: %t, said: %s", free, k.isOver(p.UID), s.Phase)
	}
}
