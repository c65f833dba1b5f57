package timeline

import (
	"fmt"
	"strings"
	"time"
)

// Words says what a step was, for people.
func (s Step) Words() string {
	if s.Idle {
		return "until " + s.Record.Words() + " began"
	}
	return s.Record.Words()
}

// Words says what a record is about, for people.
func (r *Record) Words() string {
	name := Short(r.Pod)
	if r.Container != "" && !strings.HasPrefix(bare(r.Pod)+"-", r.Container+"-") {
		name += "/" + r.Container
	}
	switch r.Kind {
	case Run:
		return "boot " + r.Name + ": done"
	case Phase:
		return "phase " + r.Name
	case Look:
		return r.Name + ": look"
	case Change:
		return r.Phase + ": " + r.Name
	case Health:
		return name + ": start → healthy"
	case Loop:
		return "start of the node agent"
	case Engine:
		return "container engine: start"
	case Answer:
		return "container engine: start → first answer"
	case Read:
		return "reading of " + r.Name
	case Import:
		return "import of " + lastPart(r.Name)
	case Wanted:
		return name + ": known to the node agent"
	case Sandbox:
		return name + ": sandbox"
	case Image:
		return name + ": wait for its image"
	case Create:
		return name + ": create container"
	case Start:
		return name + ": start container"
	case Ready:
		return name + ": start → ready"
	case PodUp:
		return name + ": pod Ready"
	case API:
		return "node agent: has its access to the API server"
	case Node:
		return "node: registered"
	case CIDR:
		return "node: given its range of pod IPs"
	case Network:
		return "pod network: set up"
	case NodeUp:
		return "node: Ready"
	case Mirror:
		return name + ": mirror pod"
	}
	return strings.TrimSpace(string(r.Kind) + " " + r.Name)
}

// Short leaves out the namespace of what belongs to the cluster itself.
func Short(pod string) string { return strings.TrimPrefix(pod, system) }

// lastPart is an image without its registry.
func lastPart(image string) string { return image[strings.LastIndexByte(image, '/')+1:] }

// seconds prints a duration as people compare them.
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
