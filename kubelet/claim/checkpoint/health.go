package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"boot.internal/atomicfile"
)

// Health is how the devices of drivers are, by the name of the driver.
type Health map[string]DriverHealth

// DriverHealth is how the devices of one driver are, by "pool/device".
type DriverHealth struct {
	Devices map[string]DeviceHealth
}

// DeviceHealth is what a driver said last of one device.
type DeviceHealth struct {
	PoolName, DeviceName string
	Health               string // "Healthy", "Unhealthy" or "Unknown"
	LastUpdated          time.Time
	HealthCheckTimeout   time.Duration // after which it holds no longer
	Message              string
}

// LoadHealth reads what drivers said. A file that is not there holds nothing.
func LoadHealth(path string) (Health, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Health{}, nil
	}
	if err != nil {
		return Health{}, fmt.Errorf("read health of devices: %w", err)
	}
	h := Health{}
	if err := json.Unmarshal(text, &h); err != nil {
		return Health{}, fmt.Errorf("read health of devices from %s: %w", path, err)
	}
	return h, nil
}

// StoreHealth writes what drivers said.
func StoreHealth(path string, h Health) error {
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("write health of devices: %w", err)
	}
	return atomicfile.Write(path, text, 0o600)
}
