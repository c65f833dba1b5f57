package node

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A threshold is one line of evictionHard that keeps part of a resource free.
type threshold struct {
	resource v1.ResourceName
	quantity resource.Quantity
	share    float32 // of the capacity; used where it is not 0
}

// thresholds reads evictionHard.
func thresholds(hard map[string]string) ([]threshold, error) {
	var all []threshold
	for signal, name := range map[string]v1.ResourceName{
		"memory.available": v1.ResourceMemory, "nodefs.available": v1.ResourceEphemeralStorage,
	} {
		text, ok := hard[signal]
		if !ok || text == "0%" || text == "100%" { // how users switch one off
			continue
		}
		t := threshold{resource: name}
		var err error
		if number, ok := strings.CutSuffix(text, "%"); ok {
			var percent float64
			percent, err = strconv.ParseFloat(number, 32)
			t.share = float32(percent) / 100 // as exact as upstream, so that both come to the same
		} else {
			t.quantity, err = resource.ParseQuantity(text)
		}
		if err != nil {
			return nil, fmt.Errorf("read evictionHard %s %q: %w", signal, text, err)
		}
		all = append(all, t)
	}
	return all, nil
}

// of returns how much of a capacity the threshold keeps free.
func (t threshold) of(capacity resource.Quantity) resource.Quantity {
	if t.share == 0 {
		return t.quantity
	}
	return *resource.NewQuantity(int64(float64(capacity.Value())*float64(t.share)), resource.BinarySI)
}

// setCapacity writes what the machine has and what of it is for pods. Resources
// that others advertise stay.
func (k *Keeper) setCapacity(s *v1.NodeStatus, f Facts) {
	pods := k.o.MaxPods
	if k.o.PodsPerCore > 0 {
		pods = min(pods, k.o.PodsPerCore*int32(f.Cores))
	}
	if s.Capacity == nil {
		s.Capacity = v1.ResourceList{}
	}
	s.Capacity[v1.ResourceCPU] = *resource.NewQuantity(f.Cores, resource.DecimalSI)
	s.Capacity[v1.ResourceMemory] = *resource.NewQuantity(f.Memory, resource.BinarySI)
	if !k.o.NoLocalStorage {
		s.Capacity[v1.ResourceEphemeralStorage] = *resource.NewQuantity(f.Storage, resource.BinarySI)
	}
	s.Capacity[v1.ResourcePods] = *resource.NewQuantity(int64(pods), resource.DecimalSI)
	maps.DeleteFunc(s.Capacity, func(name v1.ResourceName, _ resource.Quantity) bool { // sizes that are gone
		size, huge := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix)
		_, there := f.HugePages[size]
		return huge && !there
	})
	for size, total := range f.HugePages {
		s.Capacity[v1.ResourceName(v1.ResourceHugePagesPrefix+size)] = *resource.NewQuantity(total, resource.BinarySI)
	}
	s.Allocatable = v1.ResourceList{}
	for name, q := range s.Capacity {
		s.Allocatable[name] = k.allocatable(name, q, f)
	}
	k.addDevices(s)
}

// allocatable returns what is left of a resource for pods, never below nothing.
func (k *Keeper) allocatable(name v1.ResourceName, capacity resource.Quantity, f Facts) resource.Quantity {
	left := capacity.DeepCopy()
	left.Sub(k.reserved[name])
	for _, t := range k.eviction {
		if t.resource == name {
			left.Sub(t.of(capacity))
		}
	}
	if name == v1.ResourceMemory { // huge pages are taken from it for good
		for _, total := range f.HugePages {
			left.Sub(*resource.NewQuantity(total, resource.BinarySI))
		}
	}
	if left.Sign() < 0 {
		left.Set(0)
	}
	return left
}
