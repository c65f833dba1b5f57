package evict

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestAssess goes through looks at one node, a minute after the other.
func TestAssess(t *testing.T) {
	const gi = 1 << 30
	hard := Threshold{Signal: MemoryAvailable, Amount: amount("1Gi"), MinReclaim: amount("1Gi")}
	soft := Threshold{Signal: NodeFSAvailable, Amount: Amount{Share: 0.5}, Grace: 90 * time.Second}
	memory := func(n int64) Levels {
		return Levels{MemoryAvailable: {n * gi / 2, 8 * gi}, NodeFSAvailable: {9, 10}}
	}
	full := Levels{MemoryAvailable: {4 * gi, 8 * gi}, NodeFSAvailable: {4, 10}}
	both := Levels{MemoryAvailable: {0, 8 * gi}, NodeFSAvailable: {4, 10}}
	for _, test := range []struct {
		name  string
		looks []Levels
		want  []string
	}{
		{"enough", []Levels{memory(2)}, []string{"[] -"}},
		{"a hard threshold is met at once, and the condition outlives it", []Levels{memory(1), memory(4), memory(4), memory(4), memory(4), memory(4)}, []string{
			"[MemoryPressure] memory.available", "[MemoryPressure] -", "[MemoryPressure] -", "[MemoryPressure] -", "[MemoryPressure] -", "[] -",
		}},
		{"until more is freed beyond it", []Levels{memory(1), memory(3), memory(4)}, []string{
			"[MemoryPressure] memory.available", "[MemoryPressure] memory.available", "[MemoryPressure] -",
		}},
		{"not met, there is nothing to free beyond", []Levels{memory(3)}, []string{"[] -"}},
		{"a soft threshold waits", []Levels{full, full, full}, []string{
			"[DiskPressure] -", "[DiskPressure] -", "[DiskPressure] nodefs.available",
		}},
		{"from the start, where it was not met in between", []Levels{full, full, memory(4), full, full}, []string{
			"[DiskPressure] -", "[DiskPressure] -", "[DiskPressure] -", "[DiskPressure] -", "[DiskPressure] -",
		}},
		{"memory goes first", []Levels{full, full, both}, []string{
			"[DiskPressure] -", "[DiskPressure] -", "[DiskPressure MemoryPressure] memory.available nodefs.available",
		}},
		{"what is not seen is not met", []Levels{{}}, []string{"[] -"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			now := time.Unix(1e9, 0)
			var s State
			var got []string
			for _, seen := range test.looks {
				var v Verdict
				s, v = Assess([]Threshold{soft, hard}, seen, s, 4*time.Minute+time.Second, now)
				var starved []string
				for _, t := range v.Starved {
					starved = append(starved, string(t.Signal))
				}
				got = append(got, strings.TrimSuffix(fmt.Sprintf("%v %s", v.Conditions, strings.Join(append(starved, "-")[:max(len(starved), 1)], " ")), " "))
				now = now.Add(time.Minute)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUntil(t *testing.T) {
	now := time.Unix(1e9, 0)
	soft := Threshold{Signal: PIDAvailable, Amount: amount("10"), Grace: 30 * time.Second}
	s, _ := Assess([]Threshold{soft}, Levels{PIDAvailable: {5, 100}}, State{}, time.Minute, now)
	if got := s.until(time.Minute, now.Add(10*time.Second)); got != 20*time.Second {
		t.Errorf("a soft threshold is due in %s", got)
	}
	s, _ = Assess(nil, nil, s, time.Minute, now.Add(10*time.Second))
	if got := s.until(time.Minute, now.Add(10*time.Second)); got != 50*time.Second {
		t.Errorf("a condition ends in %s", got)
	}
	if got := (State{}).until(time.Minute, now); got != 0 {
		t.Errorf("a node that is well changes in %s", got)
	}
}
