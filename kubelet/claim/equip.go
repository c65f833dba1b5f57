package claim

import (
	"context"
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	told "k8s.io/kubelet/pkg/apis/podresources/v1"

	"boot.internal/kubelet/claim/checkpoint"
	"boot.internal/kubelet/pod"
)

// Equip names to a container about to be made, by CDI, the devices that it claims.
// They are prepared, or it fails.
func (k *Keeper) Equip(_ context.Context, p *v1.Pod, container string, c *cri.ContainerConfig) error {
	if !Needs(p) {
		return nil
	}
	d, ok := pod.Find(p, container)
	if !ok {
		return nil
	}
	all, err := asks(p, d.Container)
	if err != nil {
		return err
	}
	for _, a := range all {
		used, err := k.using(a)
		if err != nil {
			return err
		}
		for _, u := range used {
			for _, id := range u.CDIDeviceIDs {
				if !slices.ContainsFunc(c.CDIDevices, func(is *cri.CDIDevice) bool { return is.Name == id }) {
					c.CDIDevices = append(c.CDIDevices, &cri.CDIDevice{Name: id})
				}
			}
		}
	}
	return nil
}

// A used device is one that a container is given.
type used struct {
	driver string
	checkpoint.Device
}

// using returns the devices that were prepared for an ask.
func (k *Keeper) using(a ask) ([]used, error) {
	all, err := k.devices(a.claim)
	return slices.DeleteFunc(all, func(u used) bool { return !covers(u.RequestNames, a.requests) }), err
}

// devices returns all that was prepared for a claim, by driver.
func (k *Keeper) devices(key types.NamespacedName) ([]used, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok := k.claims[key]
	if !ok {
		return nil, fmt.Errorf("unable to get information for ResourceClaim %s", key.Name)
	}
	var all []used
	for _, driver := range slices.Sorted(maps.Keys(c.DriverState)) {
		for _, d := range c.DriverState[driver].Devices {
			all = append(all, used{driver, d})
		}
	}
	return all, nil
}

// Tell tells what a container claims, to agents of the node that ask (KEP-3695).
func (k *Keeper) Tell(p *v1.Pod, c *v1.Container) []*told.DynamicResource {
	if !Needs(p) {
		return nil
	}
	all, err := asks(p, c)
	if err != nil {
		return nil // it has none yet
	}
	var out []*told.DynamicResource
	for _, a := range all {
		devices, err := k.devices(a.claim)
		if err != nil {
			return nil
		}
		r := &told.DynamicResource{ClaimName: a.claim.Name, ClaimNamespace: a.claim.Namespace}
		for _, d := range devices {
			r.ClaimResources = append(r.ClaimResources, claimResource(d))
		}
		out = append(out, r)
	}
	return out
}

func claimResource(d used) *told.ClaimResource {
	r := &told.ClaimResource{DriverName: d.driver, PoolName: d.PoolName, DeviceName: d.DeviceName, ShareId: (*string)(d.ShareID)}
	for _, id := range d.CDIDeviceIDs {
		r.CdiDevices = append(r.CdiDevices, &told.CDIDevice{Name: id})
	}
	return r
}
