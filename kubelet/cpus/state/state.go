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

// A CPUManagerCheckpoint is the file up to Kubernetes 1.36, and a part of it since, for
// kubelets that go back. The fields that features add, which are off, are not read.
type CPUManagerCheckpoint struct {
	PolicyName    string                       `json:"policyName"`
	DefaultCPUSet string                       `json:"defaultCpuSet"`
	Entries       map[string]map[string]string `json:"entries,omitempty"`
	Checksum      checksum.Checksum            `json:"checksum,omitempty"` // of all but itself; zero in what is sealed
}

// A file is that of Kubernetes 1.37.
type file struct {
	CPUManagerCheckpoint
	checksum.Sealed
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
	c, err := decode(text)
	if err == nil && c.PolicyName != policy {
		err = fmt.Errorf("configured policy %q differs from state checkpoint policy %q", policy, c.PolicyName)
	}
	var s *State
	if err == nil {
		s, err = c.parse()
	}
	if err != nil {
		return nil, checksum.Refuse(path, err)
	}
	return s, nil
}

// decode reads the file of either version.
func decode(text []byte) (CPUManagerCheckpoint, error) {
	f := file{CPUManagerCheckpoint: CPUManagerCheckpoint{Entries: map[string]map[string]string{}}}
	if err := json.Unmarshal(text, &f); err != nil {
		return f.CPUManagerCheckpoint, err
	}
	var sealed CPUManagerCheckpoint
	if there, err := f.Open(&sealed); there {
		return sealed, err
	}
	if f.Checksum != 0 && f.Checksum != f.sum() { // files of old have none
		return f.CPUManagerCheckpoint, checksum.ErrCorrupt
	}
	return f.CPUManagerCheckpoint, nil
}

func (c CPUManagerCheckpoint) parse() (*State, error) {
	s := &State{Policy: c.PolicyName, Given: map[types.UID]map[string]cpuset.CPUSet{}}
	var err error
	if s.Shared, err = cpuset.Parse(c.DefaultCPUSet); err != nil {
		return nil, fmt.Errorf("could not parse default CPU set %q: %w", c.DefaultCPUSet, err)
	}
	for uid, containers := range c.Entries {
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
	c := CPUManagerCheckpoint{PolicyName: s.Policy, DefaultCPUSet: s.Shared.String(), Entries: map[string]map[string]string{}}
	for uid, containers := range s.Given {
		c.Entries[string(uid)] = map[string]string{}
		for name, cpus := range containers {
			c.Entries[string(uid)][name] = cpus.String()
		}
	}
	sealed, err := checksum.Seal(c)
	if err != nil {
		return fmt.Errorf("write which CPUs pods have: %w", err)
	}
	c.Checksum = c.sum()
	text, err := json.Marshal(file{c, sealed})
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
