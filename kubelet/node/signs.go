package node

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// Signs are what others have found out about the node.
type signs struct {
	mu       sync.Mutex // guards all below
	pressure []v1.NodeConditionType
	images   []v1.ContainerImage
	down     bool
}

// SetPressure says which conditions of pressure there are. The API is told at
// once.
func (k *Keeper) SetPressure(conditions []v1.NodeConditionType) {
	k.signs.mu.Lock()
	k.signs.pressure = slices.Clone(conditions)
	k.signs.mu.Unlock()
	k.Poke()
}

// SetImages says which images the node has, as they are to be listed. They must
// not be changed any more.
func (k *Keeper) SetImages(images []v1.ContainerImage) {
	k.signs.mu.Lock()
	same := equality.Semantic.DeepEqual(k.signs.images, images)
	k.signs.images = images
	k.signs.mu.Unlock()
	if !same {
		k.Poke()
	}
}

// SetShuttingDown says whether the machine is on its way down: then the node is
// not ready, and nothing more is scheduled on it.
func (k *Keeper) SetShuttingDown(down bool) {
	k.signs.mu.Lock()
	k.signs.down = down
	k.signs.mu.Unlock()
	k.Poke()
}

// listed returns the images of the node, and those of an earlier process until
// they are known.
func (s *signs) listed(old []v1.ContainerImage) []v1.ContainerImage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.images == nil {
		return old
	}
	return s.images
}

func (s *signs) shutdown() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errors.New("node is shutting down")
	}
	return nil
}

// A sign is a condition of pressure in the words people know.
type sign struct {
	kind          v1.NodeConditionType
	reason, words string // without pressure
	bad, badWords string // with
	event, alarm  string // reasons of the events that tell of a change
}

func pressures() []sign {
	return []sign{
		{
			v1.NodeMemoryPressure, "KubeletHasSufficientMemory", "kubelet has sufficient memory available",
			"KubeletHasInsufficientMemory", "kubelet has insufficient memory available",
			"NodeHasSufficientMemory", "NodeHasInsufficientMemory",
		},
		{
			v1.NodeDiskPressure, "KubeletHasNoDiskPressure", "kubelet has no disk pressure",
			"KubeletHasDiskPressure", "kubelet has disk pressure", "NodeHasNoDiskPressure", "NodeHasDiskPressure",
		},
		{
			v1.NodePIDPressure, "KubeletHasSufficientPID", "kubelet has sufficient PID available",
			"KubeletHasInsufficientPID", "kubelet has insufficient PID available",
			"NodeHasSufficientPID", "NodeHasInsufficientPID",
		},
	}
}

// conditions returns the conditions of pressure as they are now.
func (s *signs) conditions() []v1.NodeCondition {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []v1.NodeCondition
	for _, p := range pressures() {
		c := v1.NodeCondition{Type: p.kind, Status: v1.ConditionFalse, Reason: p.reason, Message: p.words}
		if slices.Contains(s.pressure, p.kind) {
			c.Status, c.Reason, c.Message = v1.ConditionTrue, p.bad, p.badWords
		}
		all = append(all, c)
	}
	return all
}

// tellChanges records an event for each condition that is another than before.
func (k *Keeper) tellChanges(old, next []v1.NodeCondition) {
	if k.o.Event == nil {
		return
	}
	for _, c := range next {
		was := condition(old, c.Type)
		if was != nil && was.Status == c.Status || was == nil && c.Type == v1.NodeReady && c.Status != v1.ConditionTrue {
			continue
		}
		if reason := eventOf(c); reason != "" {
			k.o.Event(v1.EventTypeNormal, reason, fmt.Sprintf("Node %s status is now: %s", k.o.Name, reason))
		}
	}
}

// eventOf returns the reason of the event that tells of a condition.
func eventOf(c v1.NodeCondition) string {
	yes := c.Status == v1.ConditionTrue
	if c.Type == v1.NodeReady {
		if yes {
			return "NodeReady"
		}
		return "NodeNotReady"
	}
	for _, p := range pressures() {
		switch {
		case p.kind != c.Type:
		case yes:
			return p.alarm
		default:
			return p.event
		}
	}
	return ""
}
