package csi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/apimachinery/pkg/util/version"

	"boot.internal/kubelet/plugin"
)

// Validate refuses drivers of versions nobody here speaks, and a second driver
// of a name.
func (d *Drivers) Validate(_ context.Context, p plugin.Plugin) error {
	if _, err := d.highest(p); err != nil {
		return fmt.Errorf("validation failed for CSI Driver %s at endpoint %s: %w", p.Name, p.Endpoint, err)
	}
	return nil
}

// highest returns the highest version of p that will do, which is 1.x.
func (d *Drivers) highest(p plugin.Plugin) (*version.Version, error) {
	if len(p.Versions) == 0 {
		return nil, errors.New("the plugin returned an empty list of supported versions")
	}
	best, err := version.HighestSupportedVersion(p.Versions)
	if err != nil {
		return nil, fmt.Errorf("none of the versions specified %q are supported: %w", p.Versions, err)
	}
	d.mu.Lock()
	old, ok := d.drivers[p.Name]
	d.mu.Unlock()
	if !ok {
		return best, nil
	}
	if have, err := version.ParseGeneric(old.version); err == nil && !have.LessThan(best) && old.endpoint != p.Endpoint {
		return nil, fmt.Errorf("another driver with the same name is already registered with a higher supported version: %q", old.version)
	}
	return best, nil
}

// Register takes a driver in and says in the API that it is here.
func (d *Drivers) Register(ctx context.Context, p plugin.Plugin) error {
	best, err := d.highest(p)
	if err != nil {
		return err
	}
	info, err := nodeInfo(ctx, p.Endpoint)
	if err != nil {
		return err
	}
	if err := d.announce(ctx, p.Name, info); err != nil {
		return err
	}
	d.mu.Lock()
	d.drivers[p.Name] = driver{endpoint: p.Endpoint, version: best.String()}
	d.schedule.set(p.Name, true)
	d.mu.Unlock()
	d.o.Arrived()
	return nil
}

// nodeInfo asks a driver what this node is to it.
func nodeInfo(ctx context.Context, endpoint string) (*csi.NodeGetInfoResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := connect(endpoint)
	if err != nil {
		return nil, err
	}
	defer c.close()
	info, err := c.NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask driver for node info: %w", err)
	}
	if info.NodeId == "" {
		return nil, errors.New("error adding CSI driver node info: driverNodeID must not be empty")
	}
	return info, nil
}

// Deregister forgets a driver.
func (d *Drivers) Deregister(ctx context.Context, p plugin.Plugin) {
	d.mu.Lock()
	if d.drivers[p.Name].endpoint == p.Endpoint {
		delete(d.drivers, p.Name)
		d.schedule.set(p.Name, false)
	}
	d.mu.Unlock()
	if err := d.retract(ctx, p.Name); err != nil {
		d.o.Log.LogAttrs(ctx, slog.LevelWarn, "take driver out of CSINode", slog.String("driver", p.Name), slog.Any("err", err))
	}
}
