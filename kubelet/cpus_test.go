package kubelet

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/pod"
)

// What CPUs are named counts, not what else is said of how much is reserved.
func TestReservedCPUs(t *testing.T) {
	c := &kubeletv1beta1.KubeletConfiguration{
		ReservedSystemCPUs: "0-1,4", KubeReserved: map[string]string{"cpu": "1", "memory": "1Gi"}, SystemReserved: map[string]string{"cpu": "500m", "pid": "9"},
	}
	got := withReservedCPUs(c)
	if diff := cmp.Diff(map[string]string{"cpu": "3", "pid": "9"}, got.SystemReserved); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"memory": "1Gi"}, got.KubeReserved); diff != "" {
		t.Error(diff)
	}
	if c.SystemReserved["cpu"] != "500m" || c.KubeReserved["cpu"] != "1" {
		t.Error("what was asked for is another")
	}
	none := &kubeletv1beta1.KubeletConfiguration{}
	if withReservedCPUs(none) != none {
		t.Error("nothing is named")
	}
	if got := withReservedCPUs(&kubeletv1beta1.KubeletConfiguration{ReservedSystemCPUs: "0"}).SystemReserved["cpu"]; got != "1" {
		t.Errorf("reserved are %s", got)
	}
}

// Without a policy nothing is on disk and nothing is looked at, but a policy of before
// is not forgotten.
func TestCPUsOfNobody(t *testing.T) {
	dir := t.TempDir()
	k := &kubelet{o: Options{RootDir: dir, Config: &kubeletv1beta1.KubeletConfiguration{}}}
	if err := k.checkCPUs(); err != nil {
		t.Error(err)
	}
	k.pinContainers(t.Context()) // returns
	if k.hasOwnCPUs(&v1.Pod{}) {
		t.Error("a pod has CPUs for itself")
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("files %v, %v", files, err)
	}
	k.o.Config.ReservedSystemCPUs = "9999"
	if err := k.checkCPUs(); err == nil || !strings.HasPrefix(err.Error(), "reserved-cpus: 9999 is not a subset of online-cpus: ") {
		t.Error(err)
	}
	const before = `{"policyName":"static","defaultCpuSet":"0","checksum":0}`
	if err := os.WriteFile(filepath.Join(dir, "cpu_manager_state"), []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.checkCPUs(); err == nil || !strings.Contains(err.Error(), `configured policy "none" differs from state checkpoint policy "static"`) {
		t.Error(err)
	}
}

// A pod that comes finds the CPUs of those that nobody wants any more.
func TestPlacesOfTheForgotten(t *testing.T) {
	k := &kubelet{o: Options{RootDir: t.TempDir(), Config: &kubeletv1beta1.KubeletConfiguration{}}}
	l := &tenants{}
	k.places = &places{owners: []owner{l}}
	named := func(uid, source string) *v1.Pod {
		p := &v1.Pod{}
		p.UID, p.Annotations = types.UID(uid), map[string]string{pod.ConfigSource: source}
		return p
	}
	k.now, k.heard = []*v1.Pod{named("runs", pod.SourceAPI)}, []*v1.Pod{named("comes", pod.SourceAPI)}
	k.going = []*v1.Pod{named("forgotten", pod.SourceAPI), named("static", "file")}
	k.keepPlaces(named("next", pod.SourceAPI))
	if l.kept != nil {
		t.Error("it is not known yet who is wanted")
	}
	k.said = true
	k.keepPlaces(named("next", pod.SourceAPI))
	var kept []string
	for uid, is := range l.kept {
		if is {
			kept = append(kept, string(uid))
		}
	}
	slices.Sort(kept)
	if diff := cmp.Diff([]string{"comes", "next", "runs", "static"}, kept); diff != "" {
		t.Error(diff)
	}
}

// Tenants note who is kept.
type tenants struct {
	numa.Provider
	kept map[types.UID]bool
}

func (l *tenants) Keep(keep map[types.UID]bool) { l.kept = keep }
