// Package checkpoint is the files in which a kubelet remembers which claims the
// drivers of this node have prepared, and how the devices of the drivers are. Its
// fields are upstream's: either kubelet goes on from what the other wrote.
package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"boot.internal/atomicfile"
)

// A Claim is a ResourceClaim that is prepared on this node, or is to be.
type Claim struct {
	ClaimUID  types.UID
	ClaimName string
	Namespace string
	// PodUIDs are the pods on this node that use it.
	PodUIDs sets.Set[string]
	// DriverState holds what each driver with a part in the claim prepared, by the
	// name of the driver.
	DriverState map[string]Driver
}

// A Driver is the part of a driver in a claim.
type Driver struct {
	Devices []Device
}

// A Device is one prepared device.
type Device struct {
	PoolName     string
	DeviceName   string
	ShareID      *types.UID // of devices that several claims share
	RequestNames []string   // of the claim; empty: all of them
	CDIDeviceIDs []string
}

type data struct {
	metav1.TypeMeta
	ClaimInfoStateList []Claim
}

// A file holds its data as a text, over which the checksum goes.
type file struct {
	Data     string
	Checksum uint32
}

// Load reads the claims. A file that is not there holds none.
func Load(path string) ([]Claim, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read prepared claims: %w", err)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("read prepared claims from %s: %w", path, err)
	}
	if f.Checksum != crc32.ChecksumIEEE([]byte(f.Data)) {
		return nil, fmt.Errorf("read prepared claims from %s: its checksum is wrong", path)
	}
	var d data
	if err := json.Unmarshal([]byte(f.Data), &d); err != nil {
		return nil, fmt.Errorf("read prepared claims from %s: %w", path, err)
	}
	return d.ClaimInfoStateList, nil
}

// Store writes the claims.
func Store(path string, claims []Claim) error {
	inner, err := json.Marshal(data{
		TypeMeta:           metav1.TypeMeta{Kind: "DRACheckpoint", APIVersion: "checkpoint.dra.kubelet.k8s.io/v1"},
		ClaimInfoStateList: claims,
	})
	if err != nil {
		return fmt.Errorf("write prepared claims: %w", err)
	}
	text, err := json.Marshal(file{Data: string(inner), Checksum: crc32.ChecksumIEEE(inner)})
	if err != nil {
		return fmt.Errorf("write prepared claims: %w", err)
	}
	return atomicfile.Write(path, text, 0o600)
}
