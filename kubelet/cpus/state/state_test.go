package state_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/cpuset"

	"boot.internal/hint"
	"boot.internal/kubelet/cpus/state"
)

// written is what the kubelet of 1.37 writes.
const written = `{"policyName":"static","defaultCpuSet":"0,3","entries":{"uid-1":{"a":"1","b":"2"},"uid-2":{"a":"4-6"}},"checksum":1515499480,"data":"{\"policyName\":\"static\",\"defaultCpuSet\":\"0,3\",\"entries\":{\"uid-1\":{\"a\":\"1\",\"b\":\"2\"},\"uid-2\":{\"a\":\"4-6\"}}}","dataChecksum":504873391}`

// old is what kubelets wrote before.
const old = `{"policyName":"static","defaultCpuSet":"0,3","entries":{"uid-1":{"a":"1","b":"2"},"uid-2":{"a":"4-6"}},"checksum":1515499480}`

func example() state.State {
	return state.State{
		Policy: "static", Shared: cpuset.New(0, 3),
		Given: map[types.UID]map[string]cpuset.CPUSet{"uid-1": {"a": cpuset.New(1), "b": cpuset.New(2)}, "uid-2": {"a": cpuset.New(4, 5, 6)}},
	}
}

func TestUpstreamsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), state.File)
	if s, err := state.Load(path, "static"); s != nil || err != nil {
		t.Errorf("there is none, but %v, %v", s, err)
	}
	if err := state.Store(path, example()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(written, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestLoad(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"of now":              {written, ""},
		"of before":           {old, ""},
		"without a sum":       {`{"policyName":"static","defaultCpuSet":"0,3","entries":{"uid-1":{"a":"1","b":"2"},"uid-2":{"a":"4-6"}},"checksum":0}`, ""},
		"of another policy":   {`{"policyName":"none","defaultCpuSet":"","checksum":0}`, `configured policy "static" differs from state checkpoint policy "none"`},
		"changed":             {strings.ReplaceAll(written, "uid-2", "uid-3"), "checkpoint is corrupted"},
		"changed of before":   {strings.ReplaceAll(old, "uid-2", "uid-3"), "checkpoint is corrupted"},
		"no CPUs":             {`{"policyName":"static","defaultCpuSet":"x"}`, `could not parse default CPU set "x": strconv.Atoi: parsing "x": invalid syntax`},
		"no CPUs of one":      {`{"policyName":"static","defaultCpuSet":"0","entries":{"u":{"c":"x"}}}`, `could not parse cpuset "x" for container "c" in pod "u": strconv.Atoi: parsing "x": invalid syntax`},
		"something different": {`[]`, "json: cannot unmarshal array into Go value of type state.file"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), state.File)
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := state.Load(path, "static")
			if c.want != "" {
				if err == nil || err.Error() != "could not restore state from checkpoint: "+c.want || !strings.Contains(hint.Of(err), path) {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := example()
			if !s.Shared.Equals(want.Shared) || !cmp.Equal(s.Given, want.Given, cmp.Comparer(cpuset.CPUSet.Equals)) {
				t.Errorf("%+v, want %+v", s, want)
			}
		})
	}
}
