package status

import (
	"fmt"
	"strings"
	"time"

	"boot.internal/kubelet/local"
)

// judge fills in what is wrong, and the verdict.
func (r *Report) judge(begun bool) {
	if !r.Loop.Running && !begun {
		r.Verdict = NoNode
		r.Wrong = []string{"this host is no node: neither boot init nor boot join has been run here"}
		return
	}
	r.judgeLoop()
	r.judgeNode()
	r.judgePods()
	r.judgeAPI()
	r.judgeEtcd()
	r.judgeManifests()
	r.judgeCertificates()
	r.judgeRotation()
	switch {
	case !r.Loop.Running:
		r.Verdict = LoopDown
	case len(r.Wrong) > 0:
		r.Verdict = Degraded
	default:
		r.Verdict = OK
	}
}

func (r *Report) wrong(format string, args ...any) {
	r.Wrong = append(r.Wrong, fmt.Sprintf(format, args...))
}

func (r *Report) judgeLoop() {
	if r.Loop.Running {
		return
	}
	text := r.Loop.Error
	if r.Loop.Last != "" {
		text += "; it ended last with " + r.Loop.Last
	}
	r.wrong("%s: pods go on, but nobody restarts them", text)
}

func (r *Report) judgeNode() {
	if !r.Engine.Healthy {
		r.wrong("the container engine does not answer: %s", r.Engine.Error)
	}
	if !r.Loop.Running {
		return
	}
	for _, c := range r.Node.Conditions {
		switch {
		case c.Type == "Ready" && c.Status != "True" && r.Engine.Healthy:
			r.wrong("the node is not Ready: %s", c.Message)
		case strings.HasSuffix(c.Type, "Pressure") && c.Status == "True":
			r.wrong("%s: %s", c.Type, c.Message)
		}
	}
}

func (r *Report) judgePods() {
	for _, p := range r.StaticPods {
		if r.Unwell(p) {
			r.wrong("%s is %s%s", p.Key(), p.State, why(p))
		}
	}
	for _, p := range r.OtherPods.Unwell {
		r.wrong("%s is %s%s", p.Key(), p.State, why(p))
	}
}

// Unwell says whether a pod is one to worry about: also one that does not come up,
// but not one whose probes have hardly begun.
func (r *Report) Unwell(p local.Pod) bool {
	const toStart, toBeReady = 5 * time.Minute, 30 * time.Second
	switch p.State {
	case local.Starting:
		return !p.Created.IsZero() && r.Now.Sub(p.Created) > toStart
	case local.Unready:
		return r.Now.Sub(p.Since) > toBeReady
	default:
		return !p.State.Well()
	}
}

func why(p local.Pod) string {
	if p.Failure == nil {
		return ""
	}
	return ": " + p.Failure.Text
}

func (r *Report) judgeAPI() {
	switch {
	case r.API == nil:
	case !r.API.Reachable:
		r.wrong("no API server answers: %s", r.API.Ways[0].Error)
	case r.Loop.Running && !r.Node.Registered:
		r.wrong("the node is not registered with the API server")
	}
}

func (r *Report) judgeEtcd() {
	if r.Etcd == nil {
		return
	}
	if !r.Etcd.Quorum {
		r.wrong("etcd has no quorum: %s", r.Etcd.Error)
	}
	for _, m := range r.Etcd.Members {
		if !m.Healthy {
			r.wrong("etcd member %s is not well: %s", m.Name, m.Error)
		}
	}
}

// judgeManifests leaves out what only informs.
func (r *Report) judgeManifests() {
	for _, p := range r.Manifests {
		if Refusal(p) {
			r.wrong("%s is %s: %s", Place(p), fate(p), p.Message)
		}
	}
}

func (r *Report) judgeCertificates() {
	for _, c := range r.Certificates {
		switch {
		case c.Ended(r.Now):
			r.wrong("certificate %s ended %s ago", c.Name, Short(r.Now.Sub(c.NotAfter)))
		case c.Trouble != "":
			r.wrong("certificate %s: %s", c.Name, c.Trouble)
		}
	}
}

// judgeRotation takes a rotation for something wrong only where this node is what it
// waits for.
func (r *Report) judgeRotation() {
	if rotation := r.Loop.Rotation; rotation != nil && rotation.Trouble != "" {
		r.wrong("authorities are being rotated, and this node does not get to the stage %s", rotation.Trouble)
	}
}

// Ended says whether the certificate is valid no more.
func (c Certificate) Ended(now time.Time) bool { return !c.NotAfter.IsZero() && !c.NotAfter.After(now) }

// Refusal says whether a problem keeps a manifest from being run as it is
// written.
func Refusal(p local.Problem) bool {
	switch p.Reason {
	case "StaticPodRefused", "StaticPodKept", "StaticPodDuplicate", "ManifestUnreadable":
		return true
	default:
		return false
	}
}

// Place says where a problem is: a file, and the line if that is known.
func Place(p local.Problem) string {
	if p.Line > 0 {
		return fmt.Sprintf("%s:%d", p.Path, p.Line)
	}
	return p.Path
}

// fate is what becomes of a manifest that is not run as it is written, in words.
func fate(p local.Problem) string {
	switch p.Reason {
	case "StaticPodKept", "StaticPodRefused":
		return "refused"
	case "StaticPodDuplicate":
		return "a duplicate"
	default:
		return "unreadable"
	}
}

// Short words a duration as people do: "12s", "5m", "3h12m", "364d".
func Short(d time.Duration) string {
	d = max(d, 0)
	day := 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 10*time.Minute:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 2*day:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d/day))
	}
}
