package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Raise sets those limits of a pod that are higher than what its group has now,
// so that there is room for containers that grow (KEP-1287).
func (c *Cgroups) Raise(p *v1.Pod) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.change(p, func(s setting, now string) bool { return above(s.value, now) })
}

// Update sets all limits of a pod. It comes after containers have shrunk: the
// kernel refuses a limit below what is in use.
func (c *Cgroups) Update(p *v1.Pod) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.change(p, anyway); err != nil {
		return err
	}
	c.given[p.UID] = c.limitsOf(p, c.QOS(p))
	return nil
}

func anyway(s setting, now string) bool { return s.value != now }

// change writes the limits of a pod that need to be set, one by one. mu must be
// held.
func (c *Cgroups) change(p *v1.Pod, needed func(s setting, now string) bool) error {
	class := c.QOS(p)
	group, l := c.podName(class, p.UID), c.limitsOf(p, class)
	if !c.exists(group) {
		return nil // it is made with these limits
	}
	var written limits
	for _, h := range c.trees {
		for _, s := range l.settings(h.unified, c.QuotaPeriod) {
			file := filepath.Join(h.join(c.path(group)), s.file)
			now, err := readValue(file)
			if !h.has[s.controller] || err != nil || !needed(s, now) { // what is not there was warned of
				continue
			}
			if err := writeValue(file, s.value); err != nil {
				return fmt.Errorf("set %s of %s/%s to %s: %w", s.file, p.Namespace, p.Name, s.value, err)
			}
			written = l
		}
	}
	if written == (limits{}) {
		return nil
	}
	if c.units != nil { // or systemd would put back what it knows
		if err := startSlice(c.units, c.path(group), c.properties(l)); err != nil {
			return err
		}
	}
	c.settle(class)
	return nil
}

// above reports whether one value of a limit lets more through than another. In
// a file with two numbers, such as cpu.max, the first is the limit.
func above(value, now string) bool { return amountOf(value) > amountOf(now) }

func amountOf(value string) float64 {
	first, _, _ := strings.Cut(value, " ")
	n, err := strconv.ParseFloat(first, 64)
	if err != nil || n < 0 { // "max", and -1 of version 1
		return 1 << 63
	}
	return n
}

func readValue(path string) (string, error) {
	data, err := os.ReadFile(path)
	return strings.TrimSpace(string(data)), err
}
