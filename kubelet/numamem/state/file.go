package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"boot.internal/atomicfile"
	"boot.internal/hint"
	"boot.internal/kubelet/checksum"
)

// A MemoryManagerCheckpoint is the file up to Kubernetes 1.36, and a part of it since,
// for kubelets that go back.
type MemoryManagerCheckpoint struct {
	PolicyName   string                     `json:"policyName"`
	MachineState NUMANodeMap                `json:"machineState"`
	Entries      ContainerMemoryAssignments `json:"entries,omitempty"`
	Checksum     checksum.Checksum          `json:"checksum"`
}

func (c MemoryManagerCheckpoint) sum() checksum.Checksum {
	c.Checksum = 0
	return checksum.Of(&c)
}

// A file is that of Kubernetes 1.37: what counts is data, a text.
type file struct {
	MemoryManagerCheckpoint
	Data         string            `json:"data"`
	DataChecksum checksum.Checksum `json:"dataChecksum"`
}

type data struct {
	PolicyName   string                     `json:"policyName"`
	MachineState NUMANodeMap                `json:"machineState"`
	Entries      ContainerMemoryAssignments `json:"entries,omitempty"`
}

// Store writes the file.
func Store(path, policy string, nodes NUMANodeMap, given ContainerMemoryAssignments) error {
	inner, err := json.Marshal(data{policy, nodes, given})
	if err != nil {
		return fmt.Errorf("write memory of containers: %w", err)
	}
	f := file{MemoryManagerCheckpoint: MemoryManagerCheckpoint{PolicyName: policy, MachineState: nodes, Entries: given}, Data: string(inner)}
	f.Checksum, f.DataChecksum = f.sum(), checksum.Of(f.Data)
	text, err := json.Marshal(f)
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
	d, err := decode(text)
	if err == nil && d.PolicyName != policy {
		err = fmt.Errorf("[memorymanager] configured policy %q differs from state checkpoint policy %q", policy, d.PolicyName)
	}
	if err != nil {
		return nil, nil, Refuse(path, err)
	}
	return d.MachineState, d.Entries, nil
}

// Refuse returns the error of a file from which it cannot be gone on.
func Refuse(path string, err error) error {
	return hint.With(fmt.Errorf("could not restore state from checkpoint: %w", err), "drain the node, remove "+path+", and start boot again")
}

var errCorrupt = errors.New("checkpoint is corrupted")

// decode reads the file of either version.
func decode(text []byte) (data, error) {
	d := data{MachineState: NUMANodeMap{}, Entries: ContainerMemoryAssignments{}}
	f := file{MemoryManagerCheckpoint: MemoryManagerCheckpoint{MachineState: NUMANodeMap{}, Entries: ContainerMemoryAssignments{}}}
	if err := json.Unmarshal(text, &f); err != nil {
		return d, err
	}
	switch {
	case f.Data == "" && f.DataChecksum == 0:
		if f.Checksum != 0 && f.Checksum != f.sum() { // files of old have none
			return d, errCorrupt
		}
		return data{f.PolicyName, f.MachineState, f.Entries}, nil
	case f.DataChecksum != checksum.Of(f.Data):
		return d, errCorrupt
	}
	return d, json.Unmarshal([]byte(f.Data), &d)
}
