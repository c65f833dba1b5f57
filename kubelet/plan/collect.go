package plan

import "boot.internal/kubelet/pod"

// collect removes what nobody needs any more: of each container all but the
// newest instance and the newest dead one (its status is lastState, its log is
// `kubectl logs --previous`), and old sandboxes with nothing left in them.
func (r *run) collect() {
	kept := map[string]int{} // containers to stay, by sandbox
	newest := map[string]bool{}
	dead := map[string]bool{}
	for _, c := range r.have.Containers {
		last := !newest[c.Name]
		newest[c.Name] = true
		status := c.State == pod.Exited && !dead[c.Name]
		dead[c.Name] = dead[c.Name] || c.State == pod.Exited
		if mayRun(c) || r.declares(c.Name) && (last || status) || !r.do(pod.RemoveContainer{Name: c.Name, ID: c.ID}) {
			kept[c.SandboxID]++
		}
	}
	for _, b := range r.have.Sandboxes {
		if b.ID != r.sandbox.ID && kept[b.ID] == 0 {
			r.discard(b, "sandbox changed")
		}
	}
}
