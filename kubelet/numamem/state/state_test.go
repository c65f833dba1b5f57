package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"boot.internal/hint"
)

// Written by other kubelets: before 1.37 there was no data.
const (
	old    = `{"policyName":"static","machineState":{"0":{"numberOfAssignments":0,"memoryMap":{"memory":{"total":2048,"systemReserved":512,"allocatable":1536,"reserved":512,"free":1024}},"cells":[]}},"entries":{"pod":{"container1":[{"numaAffinity":[0],"type":"memory","size":512}]}},"checksum":4215593881}`
	others = `{"policyName":"static","machineState":{"0":{"numberOfAssignments":0,"memoryMap":{"memory":{"total":2048,"systemReserved":512,"allocatable":1536,"reserved":512,"free":1024}},"cells":[]}},"entries":{"pod":{"container1":[{"numaAffinity":[0],"type":"memory","size":512}]}},"checksum":4215593881,"data":"{\"policyName\":\"static\",\"machineState\":{\"0\":{\"numberOfAssignments\":0,\"memoryMap\":{\"memory\":{\"total\":2048,\"systemReserved\":512,\"allocatable\":1536,\"reserved\":512,\"free\":1024}},\"cells\":[]}},\"entries\":{\"pod\":{\"container1\":[{\"numaAffinity\":[0],\"type\":\"memory\",\"size\":512}]}}}","dataChecksum":1849615440}`
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "memory_manager_state")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Either kubelet goes on from the file of the other, to the byte.
func TestFile(t *testing.T) {
	nodes := NUMANodeMap{0: {
		MemoryMap: map[v1.ResourceName]*MemoryTable{v1.ResourceMemory: {2048, 512, 1536, 512, 1024}}, Cells: []int{},
	}}
	given := ContainerMemoryAssignments{"pod": {"container1": {{[]int{0}, v1.ResourceMemory, 512}}}}
	zeroed := strings.Replace(old, "4215593881", "0", 1)
	for _, text := range []string{old, others, zeroed} {
		path := write(t, text)
		gotNodes, gotGiven, err := Load(path, "static")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(nodes, gotNodes) + cmp.Diff(given, gotGiven); diff != "" {
			t.Error(diff)
		}
		if err := Store(path, "static", gotNodes.Clone(), gotGiven); err != nil {
			t.Fatal(err)
		}
		if text, _ := os.ReadFile(path); string(text) != others {
			t.Errorf("ours is\n%s", text)
		}
	}
}

func TestNoFile(t *testing.T) {
	nodes, given, err := Load(filepath.Join(t.TempDir(), "memory_manager_state"), "Static")
	if err != nil || nodes == nil || given == nil || len(nodes)+len(given) > 0 {
		t.Errorf("no file holds %v, %v, %v", nodes, given, err)
	}
}

// A file that cannot be gone on from is not: the operator decides.
func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"{":                                   "unexpected end of JSON input",
		strings.Replace(old, "512", "513", 1): "checkpoint is corrupted",
		strings.Replace(others, "1849615440", "1234", 1):                           "checkpoint is corrupted",
		strings.Replace(old, `"checksum"`, `"dataChecksum":1234,"checksum"`, 1):    "checkpoint is corrupted",
		strings.Replace(others, `,"dataChecksum":1849615440`, "", 1):               "checkpoint is corrupted",
		strings.Replace(others, `"policyName":"static"`, `"policyName":"none"`, 1): "",
		others: "",
	} {
		_, _, err := Load(write(t, text), "static")
		if want == "" {
			_, _, err = Load(write(t, text), "Static")
			want = `[memorymanager] configured policy "Static" differs from state checkpoint policy "static"`
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(hint.Of(err), "drain the node, remove /") {
			t.Errorf("%s: %v, hint %q", text, err, hint.Of(err))
		}
	}
}
