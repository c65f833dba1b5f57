package claim

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/dynamic-resource-allocation/resourceclaim"
	dra "k8s.io/kubelet/pkg/apis/dra-health/v1"

	"boot.internal/kubelet/claim/checkpoint"
)

const (
	// healthTimeout is how long word of a device holds where its driver does not
	// say; it is upstream's, like how many devices are remembered of one driver.
	healthTimeout = 30 * time.Second
	maxDevices    = 16384
)

// Health is what drivers said last of their devices. Word that is too old is none.
type health struct {
	mu   sync.Mutex // guards what follows
	said checkpoint.Health
	by   map[string]*instance // who said so, by driver
}

func (k *Keeper) healthFile() string { return filepath.Join(k.o.Dir, "dra_health_state") }

func (k *Keeper) loadHealth(ctx context.Context) {
	said, err := checkpoint.LoadHealth(k.healthFile())
	if err != nil {
		k.o.Log.LogAttrs(ctx, slog.LevelWarn, "health of devices is unknown until their drivers tell", slog.Any("err", err))
	}
	k.health.said, k.health.by = said, map[string]*instance{}
}

// Health returns how the devices are that a pod claims, by container (KEP-4680).
func (k *Keeper) Health(p *v1.Pod) map[string][]v1.ResourceStatus {
	var all map[string][]v1.ResourceStatus
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		list := k.healthOf(p, c)
		if len(list) == 0 {
			continue
		}
		if all == nil {
			all = map[string][]v1.ResourceStatus{}
		}
		all[c.Name] = list
	}
	return all
}

func (k *Keeper) healthOf(p *v1.Pod, c *v1.Container) []v1.ResourceStatus {
	var list []v1.ResourceStatus
	for _, r := range c.Resources.Claims {
		one := v1.ResourceStatus{Name: v1.ResourceName(strings.TrimSuffix("claim:"+r.Name+"/"+r.Request, "/"))}
		for _, d := range k.claimed(p, r) {
			if h := k.health.of(d, time.Now()); !slices.ContainsFunc(one.Resources, func(is v1.ResourceHealth) bool { return is.ResourceID == h.ResourceID }) {
				one.Resources = append(one.Resources, h)
			}
		}
		if len(one.Resources) > 0 {
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b v1.ResourceStatus) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// claimed returns the devices that a container has of one of its claims.
func (k *Keeper) claimed(p *v1.Pod, r v1.ResourceClaim) []used {
	request := ""
	if r.Request != "" {
		request = resourceclaim.BaseRequestRef(r.Request)
	}
	only := &v1.Container{Resources: v1.ResourceRequirements{Claims: []v1.ResourceClaim{{Name: r.Name, Request: request}}}}
	all, err := asks(p, only)
	if err != nil || len(all) == 0 {
		return nil // it has none yet
	}
	devices, err := k.using(all[0])
	if err != nil {
		return nil
	}
	return devices
}

// of returns how a device is.
func (h *health) of(d used, now time.Time) v1.ResourceHealth {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := v1.ResourceHealth{ResourceID: v1.ResourceID(d.driver + "/" + d.PoolName + "/" + d.DeviceName), Health: v1.ResourceHealthStatusUnknown}
	if len(d.CDIDeviceIDs) > 0 {
		r.ResourceID = v1.ResourceID(d.CDIDeviceIDs[0])
	}
	is, ok := h.said[d.driver].Devices[d.PoolName+"/"+d.DeviceName]
	if !ok || !now.Before(expiry(is)) {
		return r
	}
	r.Health = v1.ResourceHealthStatus(is.Health)
	if is.Message != "" {
		r.Message = &is.Message
	}
	return r
}

// expiry returns when word of a device holds no longer.
func expiry(d checkpoint.DeviceHealth) time.Time {
	return d.LastUpdated.Add(cmp.Or(d.HealthCheckTimeout, healthTimeout))
}

// update notes what a driver reports. It returns whether anything is another way
// than before, and when that will be so by itself.
func (h *health) update(by *instance, report []*dra.DeviceHealth, now time.Time) (changed bool, next time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.said[by.driver].Devices
	after := map[string]checkpoint.DeviceHealth{}
	for key, d := range before { // a report need not hold all of them
		if now.Before(expiry(d)) {
			after[key] = d
		}
	}
	for _, r := range report {
		d := deviceHealth(r, now)
		key := d.PoolName + "/" + d.DeviceName
		if _, known := after[key]; known || len(after) < maxDevices {
			after[key] = d
		}
	}
	for _, d := range after {
		if at := expiry(d); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	h.said[by.driver], h.by[by.driver] = checkpoint.DriverHealth{Devices: after}, by
	return !maps.EqualFunc(before, after, sameHealth), next
}

// sameHealth reports whether two words of a device are the same but for their time.
func sameHealth(a, b checkpoint.DeviceHealth) bool {
	b.LastUpdated = a.LastUpdated
	return a == b
}

func deviceHealth(r *dra.DeviceHealth, now time.Time) checkpoint.DeviceHealth {
	d := checkpoint.DeviceHealth{
		PoolName: r.GetDevice().GetPoolName(), DeviceName: r.GetDevice().GetDeviceName(), LastUpdated: now,
		Health:             string(v1.ResourceHealthStatusUnknown),
		HealthCheckTimeout: healthTimeout, Message: shortened(r.GetMessage()),
	}
	switch r.GetHealth() {
	case dra.HealthStatus_HEALTHY:
		d.Health = string(v1.ResourceHealthStatusHealthy)
	case dra.HealthStatus_UNHEALTHY:
		d.Health = string(v1.ResourceHealthStatusUnhealthy)
	}
	if s := r.GetHealthCheckTimeoutSeconds(); s > 0 {
		d.HealthCheckTimeout = time.Duration(s) * time.Second
	}
	return d
}

// shortened returns a message as long as the API takes it.
func shortened(message string) string {
	const dots = "..."
	if len(message) <= v1.ResourceHealthMessageMaxLength {
		return message
	}
	return strings.ToValidUTF8(message[:v1.ResourceHealthMessageMaxLength-len(dots)], "") + dots
}

// forget drops what an instance said, unless another of its driver has spoken since.
func (h *health) forget(by *instance) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by[by.driver] != by {
		return false
	}
	delete(h.by, by.driver)
	delete(h.said, by.driver)
	return true
}

// tellHealth tells of the pods that have devices of a driver, and remembers how
// those are.
func (k *Keeper) tellHealth(ctx context.Context, driver string) {
	k.health.mu.Lock()
	err := checkpoint.StoreHealth(k.healthFile(), k.health.said)
	k.health.mu.Unlock()
	if err != nil {
		k.o.Log.LogAttrs(ctx, slog.LevelWarn, "health of devices is lost by a restart", slog.Any("err", err))
	}
	if pods := k.podsOf(driver); len(pods) > 0 {
		k.o.Changed(pods)
	}
}
