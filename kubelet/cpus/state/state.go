// Package state is the file in which a kubelet remembers which CPUs it gave to which
// containers. Its names of types are upstream's, for they go into the checksum, and
// so is its own: either kubelet goes on from what the other wrote.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/cpuset"

	"boot.internal/atomicfile"
	"boot.internal/kubelet/checksum"
)

// File is the name of the file in the root directory of a kubelet.
const File = "cpu_manager_state"

// A State is what the file holds.
type State struct {
	Policy string
	Shared cpuset.CPUSet                          // by all containers that have none of their own
	Given  map[types.UID]map[string]cpuset.CPUSet // by container
}

// CPUManagerCheckpoint is what kubelets up to 1.36 know; since then it is there for
// these alone.
type CPUManagerCheckpoint struct {
	PolicyName    string                       `json:"policyName"`
	DefaultCPUSet string                       `json:"defaultCpuSet"`
	Entries       map[string]map[string]string `json:"entries,omitempty"`
	Checksum      checksum.Checksum            `json:"checksum"`
}

// data is what counts. The fields that features add, which are off, are not read.
type data struct {
	PolicyName    string                       `json:"policyName"`
	DefaultCPUSet string                       `json:"defaultCpuSet"`
	Entries       map[string]map[string]string `json:"entries,omitempty"`
}

type file struct {
	CPUManagerCheckpoint
	Data         string            `json:"data"`
	DataChecksum checksum.Checksum `json:"dataChecksum"`
}

// An Unfit is why a kubelet cannot go on from a file.
type Unfit struct {
	Path string
	Err  error
}

// Error implements error.
func (u *Unfit) Error() string {
	return fmt.Sprintf("could not restore state from checkpoint: %v, please drain this node and delete the CPU manager checkpoint file %q before restarting Kubelet", u.Err, u.Path)
}

// Unwrap returns the cause.
func (u *Unfit) Unwrap() error { return u.Err }

// Hint says what the user can do.
func (u *Unfit) Hint() string {
	return "drain the node, remove " + u.Path + ", and start boot again; what runs keeps its CPUs until then"
}

// Load reads the file. There is no state where there is none, and it is an error if it
// is of another policy.
func Load(path, policy string) (*State, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which CPUs pods have: %w", err)
	}
	d, err := decode(text)
	if err != nil {
		return nil, &Unfit{path, err}
	}
	if d.PolicyName != policy {
		return nil, &Unfit{path, fmt.Errorf("configured policy %q differs from state checkpoint policy %q", policy, d.PolicyName)}
	}
	s, err := d.parse()
	if err != nil {
		return nil, &Unfit{path, err}
	}
	return s, nil
}

var errCorrupt = errors.New("checkpoint is corrupted")

// decode reads the file as a kubelet of 1.37 or an earlier one wrote it.
func decode(text []byte) (data, error) {
	f := file{CPUManagerCheckpoint: CPUManagerCheckpoint{Entries: map[string]map[string]string{}}}
	if err := json.Unmarshal(text, &f); err != nil {
		return data{}, err
	}
	if f.Data == "" && f.DataChecksum == 0 {
		old := f.CPUManagerCheckpoint
		if old.Checksum != 0 && old.Checksum != old.sum() {
			return data{}, errCorrupt
		}
		return data{old.PolicyName, old.DefaultCPUSet, old.Entries}, nil
	}
	if f.DataChecksum != checksum.Of(f.Data) {
		return data{}, errCorrupt
	}
	var d data
	return d, json.Unmarshal([]byte(f.Data), &d)
}

func (d data) parse() (*State, error) {
	s := &State{Policy: d.PolicyName, Given: map[types.UID]map[string]cpuset.CPUSet{}}
	var err error
	if s.Shared, err = cpuset.Parse(d.DefaultCPUSet); err != nil {
		return nil, fmt.Errorf("could not parse default CPU set %q: %w", d.DefaultCPUSet, err)
	}
	for uid, containers := range d.Entries {
		s.Given[types.UID(uid)] = map[string]cpuset.CPUSet{}
		for name, cpus := range containers {
			own, err := cpuset.Parse(cpus)
			if err != nil {
				return nil, fmt.Errorf("could not parse cpuset %q for container %q in pod %q: %w", cpus, name, uid, err)
			}
			s.Given[types.UID(uid)][name] = own
		}
	}
	return s, nil
}

// Store writes the file.
func Store(path string, s State) error {
	d := data{PolicyName: s.Policy, DefaultCPUSet: s.Shared.String(), Entries: map[string]map[string]string{}}
	for uid, containers := range s.Given {
		d.Entries[string(uid)] = map[string]string{}
		for name, cpus := range containers {
			d.Entries[string(uid)][name] = cpus.String()
		}
	}
	inner, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("write which CPUs pods have: %w", err)
	}
	f := file{
		CPUManagerCheckpoint: CPUManagerCheckpoint{PolicyName: d.PolicyName, DefaultCPUSet: d.DefaultCPUSet, Entries: d.Entries},
		Data:                 string(inner), DataChecksum: checksum.Of(string(inner)),
	}
	f.Checksum = f.sum()
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("write which CPUs pods have: %w", err)
	}
	return atomicfile.Write(path, text, 0o600)
}

// sum is that of all but itself.
func (c CPUManagerCheckpoint) sum() checksum.Checksum {
	c.Checksum = 0
	return checksum.Of(&c)
}
