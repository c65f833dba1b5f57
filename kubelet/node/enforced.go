package node

import (
	"bytes"
	"os"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// PIDs is the resource of processes in reservations. No Node tells of it.
const PIDs v1.ResourceName = "pid"

// Enforced returns what all pods together may take, processes among it: what the
// machine has without what is reserved. What is kept free by evicting pods in
// time is theirs until that happens. Where reserved is false they may take it all.
// What could be found out is returned with the error.
func (k *Keeper) Enforced(reserved bool) (v1.ResourceList, error) {
	f, err := k.o.Machine.Facts()
	var s v1.NodeStatus
	k.setCapacity(&s, f)
	if n := k.o.Machine.processes(); n > 0 {
		s.Capacity[PIDs] = *resource.NewQuantity(n, resource.DecimalSI)
	}
	for name, q := range s.Capacity {
		if reserved {
			q.Sub(k.reserved[name])
		}
		if q.Sign() < 0 {
			q.Set(0)
		}
		s.Capacity[name] = q
	}
	return s.Capacity, err
}

// processes returns how many processes the machine may have, 0 if that is not
// known.
func (m Machine) processes() int64 {
	var least int64
	for _, path := range []string{"proc/sys/kernel/pid_max", "proc/sys/kernel/threads-max"} {
		data, err := os.ReadFile(m.path(path))
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64); err == nil && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}
