// Package checkpoint is the file in which a kubelet remembers which devices it
// gave to which container. Its names of types are upstream's, for they go into
// the checksum.
package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"boot.internal/atomicfile"
	"boot.internal/kubelet/checksum"
)

// DevicesPerNUMA holds the IDs of devices by the NUMA node they are near to, -1
// where they do not say.
type DevicesPerNUMA map[int64][]string

// A PodDevicesEntry is what one container has of one resource.
type PodDevicesEntry struct {
	PodUID        string
	ContainerName string
	ResourceName  string
	DeviceIDs     DevicesPerNUMA
	AllocResp     []byte // the plugin's ContainerAllocateResponse, as protocol buffer
}

type checkpointData struct {
	PodDeviceEntries  []PodDevicesEntry
	RegisteredDevices map[string][]string
}

type file struct {
	Data     checkpointData
	Checksum checksum.Checksum
}

// Load reads the file. One that is not there holds nothing.
func Load(path string) (given []PodDevicesEntry, registered map[string][]string, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read devices of pods: %w", err)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, nil, fmt.Errorf("read devices of pods from %s: %w", path, err)
	}
	if f.Checksum != checksum.Of(f.Data) {
		return nil, nil, fmt.Errorf("read devices of pods from %s: its checksum is wrong", path)
	}
	return f.Data.PodDeviceEntries, f.Data.RegisteredDevices, nil
}

// Store writes the file: what was given, and the healthy devices of each
// resource.
func Store(path string, given []PodDevicesEntry, registered map[string][]string) error {
	f := file{Data: checkpointData{given, registered}}
	f.Checksum = checksum.Of(f.Data)
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("write devices of pods: %w", err)
	}
	return atomicfile.Write(path, text, 0o600)
}
