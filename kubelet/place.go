package kubelet

import (
	"fmt"
	"os"

	"boot.internal/kubelet/numa"
)

// places are the parts that give pods CPUs and memory for themselves. There are none
// unless a policy says so.
type places struct {
	machine   *numa.Machine
	providers []numa.Provider
}

// newPlaces looks at the machine and makes who gives what of it to pods, where that
// is configured.
func (k *kubelet) newPlaces() error {
	c := k.o.Config
	if (c.TopologyManagerPolicy == "" || c.TopologyManagerPolicy == "none") && c.CPUManagerPolicy != "static" && c.MemoryManagerPolicy != "Static" {
		return nil
	}
	m, err := numa.Discover(os.DirFS("/sys"))
	if err != nil {
		return fmt.Errorf("look at CPUs and NUMA nodes: %w", err)
	}
	k.places = &places{machine: m}
	return nil
}
