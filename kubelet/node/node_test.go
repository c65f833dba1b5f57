package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRegisters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.want("registers at once, with its status, and takes its lease", "create nodes, create leases")
		n := w.node()
		for key, value := range map[string]string{
			"kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux", "beta.kubernetes.io/os": "linux", "mine": "yes",
		} {
			if n.Labels[key] != value {
				t.Errorf("label %s is %q", key, n.Labels[key])
			}
		}
		if len(n.Spec.Taints) != 1 || n.Annotations[attachAnnotation] != "true" {
			t.Errorf("taints %v, annotations %v", n.Spec.Taints, n.Annotations)
		}
		if got := n.Status.DeclaredFeatures; !slices.IsSorted(got) || !slices.Contains(got, "RestartAllContainersOnContainerExits") {
			t.Errorf("declared features %v", got)
		}
		if got := w.condition(); got != "False KubeletNotReady: container runtime status check may not have completed yet" {
			t.Error(got)
		}
		lease, err := w.api.CoordinationV1().Leases("kube-node-lease").Get(t.Context(), "n1", metav1.GetOptions{})
		if err != nil || *lease.Spec.HolderIdentity != "n1" || *lease.Spec.LeaseDurationSeconds != 40 ||
			lease.OwnerReferences[0].UID != n.UID {
			t.Errorf("lease %+v, %v", lease, err)
		}
		if !slices.Equal(w.nodes, []string{string(n.UID)}) || w.k.Node().UID != n.UID {
			t.Errorf("told %v", w.nodes)
		}

		w.k.SetRuntime(Runtime{Version: "containerd://2.4.2"})
		w.want("Ready is written at once", "patch nodes/status")
		if got := w.condition(); got != "True KubeletReady: kubelet is posting ready status" {
			t.Error(got)
		}
		if v := w.node().Status.NodeInfo.ContainerRuntimeVersion; v != "containerd://2.4.2" {
			t.Error(v)
		}
		w.k.SetRuntime(Runtime{Version: "containerd://2.4.2"})
		w.want("the same again is no news", "")
		w.k.SetRuntime(Runtime{Network: errors.New("NetworkReady=false reason:NetworkPluginNotReady message:no cni")})
		w.want("at once", "patch nodes/status")
		if got := w.condition(); !strings.HasSuffix(got, "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:no cni") {
			t.Error(got)
		}
		w.k.SetRuntime(Runtime{Err: errors.New("connection refused")})
		synctest.Wait()
		if got := w.condition(); got != "False KubeletNotReady: container runtime is down: connection refused" {
			t.Error(got)
		}
	})
}

func TestReportsNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.k.SetRuntime(Runtime{})
		w.run()
		w.took()
		heart := condition(w.node().Status.Conditions, v1.NodeReady)
		time.Sleep(4 * time.Minute)
		if got := w.took(); strings.Contains(got, "nodes") || strings.Count(got, "update leases") != 24 {
			t.Errorf("in four minutes: %q; want a lease each ten seconds and nothing else", got)
		}
		time.Sleep(2 * time.Minute)
		if got := w.took(); strings.Count(got, "patch nodes/status") != 1 {
			t.Errorf("in two more: %q", got)
		}
		later := condition(w.node().Status.Conditions, v1.NodeReady)
		if !later.LastHeartbeatTime.After(heart.LastHeartbeatTime.Time) || later.LastTransitionTime != heart.LastTransitionTime {
			t.Errorf("heartbeat %v, transition %v", later.LastHeartbeatTime, later.LastTransitionTime)
		}
	})
}

// What says that the machine is no other is put right while boot runs, and what
// users say of it stays.
func TestLabelsOfMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.k.SetRuntime(Runtime{})
		w.run()
		w.took()
		n := w.node()
		n.Labels["kubernetes.io/os"], n.Labels["theirs"] = "dummyOS", "kept"
		delete(n.Labels, "kubernetes.io/arch")
		if _, err := w.api.CoreV1().Nodes().Update(t.Context(), n, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.want("labels of the machine", "update nodes, patch nodes/status")
		if got := w.node().Labels; got["kubernetes.io/os"] != "linux" || got["kubernetes.io/arch"] != runtime.GOARCH || got["theirs"] != "kept" {
			t.Errorf("labels %v", got)
		}
	})
}

// old returns a Node object as an earlier run left it: Ready, and with things
// of others in it.
func old() *v1.Node {
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "n1", UID: "old", ResourceVersion: "5",
			Labels: map[string]string{"theirs": "kept", "kubernetes.io/os": "wrong"},
		},
		Spec: v1.NodeSpec{PodCIDR: "10.0.0.0/24", PodCIDRs: []string{"10.0.0.0/24"}},
		Status: v1.NodeStatus{
			Capacity:   v1.ResourceList{"example.com/gpu": {}},
			Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}, {Type: "NetworkUnavailable"}},
		},
	}
}

func TestTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, old())
		w.run()
		w.want("labels are put right, and nothing is said before the runtime was heard of",
			"create nodes, patch nodes, create leases")
		n := w.node()
		if n.Labels["theirs"] != "kept" || n.Labels["kubernetes.io/os"] != "linux" || len(n.Spec.Taints) != 0 {
			t.Errorf("labels %v, taints %v", n.Labels, n.Spec.Taints)
		}
		if got := fmt.Sprint(w.cidrs); got != "[[10.0.0.0/24]]" {
			t.Errorf("pod CIDRs %s", got)
		}
		time.Sleep(startGrace - time.Second)
		if c := condition(w.node().Status.Conditions, v1.NodeReady); c.Status != v1.ConditionTrue {
			t.Error("Ready flapped at a restart")
		}
		time.Sleep(20 * time.Second)
		if c := condition(w.node().Status.Conditions, v1.NodeReady); c.Status != v1.ConditionFalse {
			t.Error("a runtime that is never heard of does not make the node unready")
		}
		w.k.SetRuntime(Runtime{Version: "x"})
		synctest.Wait()
		s := w.node().Status
		if _, ok := s.Capacity["example.com/gpu"]; !ok || condition(s.Conditions, "NetworkUnavailable") == nil {
			t.Errorf("what others wrote is gone: %v, %v", s.Capacity, s.Conditions)
		}
		if len(s.Addresses) != 2 || s.Addresses[0].Address != "192.0.2.7" || s.Addresses[1].Type != v1.NodeHostName {
			t.Errorf("addresses %v", s.Addresses)
		}
	})
}

func TestDeletedNodeComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.k.SetRuntime(Runtime{})
		w.run()
		w.took()
		first := w.node().UID
		if err := w.api.CoreV1().Nodes().Delete(t.Context(), "n1", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.want("registered again at once", "delete nodes, create nodes")
		second := w.node().UID
		if !slices.Equal(w.nodes, []string{string(first), "", string(second)}) {
			t.Errorf("told %v", w.nodes)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		lease, err := w.api.CoordinationV1().Leases("kube-node-lease").Get(t.Context(), "n1", metav1.GetOptions{})
		if err != nil || lease.OwnerReferences[0].UID != second {
			t.Errorf("lease %v, %v", lease.OwnerReferences, err)
		}
	})
}

func TestAPIAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(errors.New("connection refused"))
		w.run()
		time.Sleep(5 * time.Minute)
		if w.k.Node() != nil {
			t.Fatal("a Node from nowhere")
		}
		w.set(nil)
		time.Sleep(lastWait)
		w.want("soon after it answers", "create nodes, create leases")
		w.k.SetRuntime(Runtime{})
		w.took()
		w.set(errors.New("connection refused"))
		time.Sleep(5 * time.Minute)
		w.k.SetRuntime(Runtime{Err: errors.New("down")})
		time.Sleep(time.Minute)
		w.set(nil)
		time.Sleep(lastWait)
		synctest.Wait()
		if got := w.condition(); !strings.HasPrefix(got, "False") {
			t.Error(got)
		}
	})
}

func TestCapacity(t *testing.T) {
	for _, c := range []struct {
		name              string
		o                 Options
		capacity, allowed map[v1.ResourceName]string
	}{
		{
			"defaults",
			Options{MaxPods: 110, EvictionHard: map[string]string{"memory.available": "100Mi", "nodefs.available": "10%"}},
			map[v1.ResourceName]string{"cpu": "4", "memory": "2Gi", "pods": "110", "hugepages-2Mi": "8Mi", "hugepages-1Gi": "0"},
			map[v1.ResourceName]string{"cpu": "4", "memory": "1940Mi", "pods": "110", "hugepages-2Mi": "8Mi"},
		},
		{
			"reserved",
			Options{
				MaxPods: 110, PodsPerCore: 2, SystemReserved: map[string]string{"cpu": "500m", "memory": "1Gi"},
				KubeReserved: map[string]string{"cpu": "250m"}, EvictionHard: map[string]string{"memory.available": "50%"},
			},
			map[v1.ResourceName]string{"pods": "8"},
			map[v1.ResourceName]string{"cpu": "3250m", "memory": "0", "pods": "8"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Machine = testMachine(t)
			k, err := New(c.o)
			if err != nil {
				t.Fatal(err)
			}
			s := k.status(v1.NodeStatus{}, time.Now())
			for name, want := range c.capacity {
				if q := s.Capacity[name]; q.String() != want {
					t.Errorf("capacity %s is %s, want %s", name, q.String(), want)
				}
			}
			for name, want := range c.allowed {
				if q := s.Allocatable[name]; q.String() != want {
					t.Errorf("allocatable %s is %s, want %s", name, q.String(), want)
				}
			}
			if c2, a, err := k.Resources(); err != nil || !equality.Semantic.DeepEqual(c2, s.Capacity) || !equality.Semantic.DeepEqual(a, s.Allocatable) {
				t.Errorf("resources %v, %v, %v", c2, a, err)
			}
			storage, left := s.Capacity[v1.ResourceEphemeralStorage], s.Allocatable[v1.ResourceEphemeralStorage]
			if storage.Value() <= 0 || c.name == "defaults" && left.Value() != storage.Value()-int64(float64(storage.Value())*float64(float32(0.1))) {
				t.Errorf("storage %s, of which %s", storage.String(), left.String())
			}
		})
	}
	for name, o := range map[string]Options{
		"reserved":     {KubeReserved: map[string]string{"cpu": "much"}},
		"evictionHard": {EvictionHard: map[string]string{"memory.available": "x%"}},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMachine(t *testing.T) {
	m := testMachine(t)
	f, err := m.Facts()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.NodeSystemInfo{
		MachineID: "abc", SystemUUID: "abc-def", BootID: "boot", KernelVersion: "6.1.0", OSImage: "Some Linux 12",
		OperatingSystem: "linux", Architecture: f.Info.Architecture, Swap: f.Info.Swap,
	}
	want.RunningInUserNamespace = f.Info.RunningInUserNamespace
	if f.Info != want || *f.Info.Swap.Capacity != 1<<20 || f.Cores != 4 || f.Memory != 2<<30 {
		t.Errorf("facts %+v", f)
	}
	for users, want := range map[string]bool{
		"         0          0 4294967295\n": false, "0 100000 65536\n": true, "0 0 4294967295\n70000 70000 1\n": true, "": false,
	} {
		if err := os.WriteFile(filepath.Join(m.Root, "proc/self/uid_map"), []byte(users), 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := m.Facts(); err != nil || *f.Info.RunningInUserNamespace != want {
			t.Errorf("users %q: %v, %v", users, *f.Info.RunningInUserNamespace, err)
		}
	}
	t.Run("of this machine", func(t *testing.T) {
		f, err := Machine{Dir: t.TempDir()}.Facts()
		if err != nil || f.Cores < 1 || f.Memory < 1<<20 || f.Info.KernelVersion == "" {
			t.Errorf("%+v, %v", f, err)
		}
	})
	t.Run("what is missing is said", func(t *testing.T) {
		_, err := Machine{Root: t.TempDir(), Dir: "/does/not/exist"}.Facts()
		for _, part := range []string{"processors", "memory", "file system"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("no %s in %v", part, err)
			}
		}
		c := ready(&Runtime{}, nil, err)
		if c.Status != v1.ConditionFalse || !strings.HasPrefix(c.Message, "missing node capacity for resources: ") {
			t.Errorf("condition %+v", c)
		}
	})
}

func TestReportPatch(t *testing.T) {
	one := v1.NodeStatus{Conditions: []v1.NodeCondition{ready(&Runtime{}, nil, nil)}}
	beat := *one.DeepCopy()
	beat.Conditions[0].LastHeartbeatTime = metav1.Now()
	address := *one.DeepCopy()
	address.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "::1"}}
	features := *one.DeepCopy()
	features.DeclaredFeatures = []string{"A"}
	for _, c := range []struct {
		name   string
		labels map[string]string
		next   v1.NodeStatus
		due    bool
		want   string
	}{
		{"nothing", machineLabels(), one, false, ""},
		{"a heartbeat that is not due", machineLabels(), beat, false, ""},
		{"a heartbeat that is", machineLabels(), beat, true, `"conditions"`},
		{"addresses replace each other", machineLabels(), address, false, `{"status":{"addresses":[{"$patch":"replace"},{"type":"InternalIP","address":"::1"}]}}`},
		{"features of a newer boot", machineLabels(), features, false, `{"status":{"declaredFeatures":["A"]}}`},
		{"labels that are gone", nil, one, false, `"kubernetes.io/os":"linux"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := reportPatch(&v1.Node{ObjectMeta: metav1.ObjectMeta{Labels: c.labels}, Status: one}, c.next, c.due)
			if err != nil || (c.want == "") != (got == nil) || !strings.Contains(string(got), c.want) {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
}

// What the node and its runtime can do is told at once, and volumes in use once
// they are known.
func TestAbilities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, old())
		w.run()
		yes := true
		w.k.SetRuntime(Runtime{
			Version: "containerd://2.4.2", Features: &v1.NodeFeatures{SupplementalGroupsPolicy: &yes},
			Handlers: []v1.NodeRuntimeHandler{{Name: "runc", Features: &v1.NodeRuntimeHandlerFeatures{UserNamespaces: &yes}}},
		})
		synctest.Wait()
		s := w.node().Status
		if len(s.RuntimeHandlers) != 1 || s.Features == nil || len(s.DeclaredFeatures) == 0 || s.VolumesInUse != nil {
			t.Errorf("status %+v", s)
		}
		w.k.SetVolumesInUse([]v1.UniqueVolumeName{"a", "b"})
		synctest.Wait()
		if got := w.node().Status.VolumesInUse; len(got) != 2 || got[0] != "a" {
			t.Errorf("volumes %v", got)
		}
	})
}
