package node

import (
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestEnforced(t *testing.T) {
	m := testMachine(t)
	for name, content := range map[string]string{"pid_max": "5000\n", "threads-max": "4000\n"} {
		if err := os.WriteFile(filepath.Join(m.Root, "proc/sys/kernel", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k, err := New(Options{
		Machine: m, MaxPods: 110, NoLocalStorage: true,
		SystemReserved: map[string]string{"memory": "512Mi", "pid": "1000"}, KubeReserved: map[string]string{"cpu": "5"},
		EvictionHard: map[string]string{"memory.available": "1Gi", "nodefs.available": "100%"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for reserved, want := range map[bool]map[v1.ResourceName]string{
		true:  {"cpu": "0", "memory": "1536Mi", "pid": "3k"},
		false: {"cpu": "4", "memory": "2Gi", "pid": "4k"},
	} {
		got, err := k.Enforced(reserved)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if q := got[name]; q.String() != text {
				t.Errorf("reserved %t: %s is %s, want %s", reserved, name, q.String(), text)
			}
		}
	}
	capacity, allocatable, err := k.Resources()
	if q := allocatable[v1.ResourceMemory]; err != nil || q.String() != "504Mi" { // huge pages and what is kept free
		t.Errorf("allocatable memory %s, %v", q.String(), err)
	}
	kept, err := k.Kept()
	if memory, cpu := kept[v1.ResourceMemory], kept[v1.ResourceCPU]; err != nil || memory.String() != "1536Mi" || cpu.String() != "5" {
		t.Errorf("kept from pods is %v, %v", kept, err)
	}
	if _, told := capacity[v1.ResourceEphemeralStorage]; told {
		t.Error("the node tells of a disk that pods are not to count on")
	}
}
