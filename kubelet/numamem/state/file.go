package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"boot.internal/atomicfile"
	"boot.internal/kubelet/checksum"
)

// A MemoryManagerCheckpoint is the file up to Kubernetes 1.36, and a part of it since,
// for kubelets that go back.
type MemoryManagerCheckpoint struct {
	PolicyName   string                     `json:"policyName"`
	MachineState NUMANodeMap                `json:"machineState"`
	Entries      ContainerMemoryAssignments `json:"entries,omitempty"`
	Checksum     checksum.Checksum          `json:"checksum,omitempty"` // of all but itself; zero in what is sealed
}

func (c MemoryManagerCheckpoint) sum() checksum.Checksum {
	c.Checksum = 0
	return checksum.Of(&c)
}

// A file is that of Kubernetes 1.37.
type file struct {
	MemoryManagerCheckpoint
	checksum.Sealed
}

// Store writes the file.
func Store(path, policy string, nodes NUMANodeMap, given ContainerMemoryAssignments) error {
	c := MemoryManagerCheckpoint{PolicyName: policy, MachineState: nodes, Entries: given}
	sealed, err := checksum.Seal(c)
	if err != nil {
		return fmt.Errorf("write memory of containers: %w", err)
	}
	c.Checksum = c.sum()
	text, err := json.Marshal(file{c, sealed})
	if err != nil {
		return fmt.Errorf("write memory of containers: %w", err)
	}
	return atomicfile.Write(path, text, 0o600)
}

// Load reads the file, which must be of this policy. One that is not there holds
// nothing.
func Load(path, policy string) (NUMANodeMap, ContainerMemoryAssignments, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return NUMANodeMap{}, ContainerMemoryAssignments{}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read memory of containers: %w", err)
	}
	c, err := decode(text)
	if err == nil && c.PolicyName != policy {
		err = fmt.Errorf("[memorymanager] configured policy %q differs from state checkpoint policy %q", policy, c.PolicyName)
	}
	if err != nil {
		return nil, nil, checksum.Refuse(path, err)
	}
	return c.MachineState, c.Entries, nil
}

// decode reads the file of either version.
func decode(text []byte) (MemoryManagerCheckpoint, error) {
	sealed := MemoryManagerCheckpoint{MachineState: NUMANodeMap{}, Entries: ContainerMemoryAssignments{}}
	f := file{MemoryManagerCheckpoint: MemoryManagerCheckpoint{MachineState: NUMANodeMap{}, Entries: ContainerMemoryAssignments{}}}
	if err := json.Unmarshal(text, &f); err != nil {
		return sealed, err
	}
	if there, err := f.Open(&sealed); there {
		return sealed, err
	}
	if f.Checksum != 0 && f.Checksum != f.sum() { // files of old have none
		return sealed, checksum.ErrCorrupt
	}
	return f.MemoryManagerCheckpoint, nil
}
