package cgroup

// Memory returns the directories in which the kernel counts the memory of the
// whole node and of all pods; "" where no hierarchy has memory. The second comes
// into being with the first pod.
func (c *Cgroups) Memory() (node, pods string) {
	for _, t := range c.trees {
		if t.has["memory"] {
			return t.dir, t.join(c.AllPods())
		}
	}
	return "", ""
}
