package evict

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Config is what KubeletConfiguration says of eviction, by the names of signals.
type Config struct {
	Hard       map[string]string // evictionHard; nil is Defaults
	Merge      bool              // mergeDefaultEvictionSettings: Defaults for what Hard leaves out
	Soft       map[string]string // evictionSoft
	SoftGrace  map[string]string // evictionSoftGracePeriod
	MinReclaim map[string]string // evictionMinimumReclaim
	// Allocatable is set where all pods together are held to what the node can
	// allocate (enforceNodeAllocatable): then they may run out of that, too.
	Allocatable bool
}

// Defaults returns the hard thresholds of upstream on Linux.
func Defaults() map[string]string {
	return map[string]string{
		"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%",
		"imagefs.available": "15%", "imagefs.inodesFree": "5%",
	}
}

// HardSettings returns the hard thresholds in force: what was configured, and the
// defaults where nothing was, or for what was left out if they are to be merged.
func (c Config) HardSettings() map[string]string {
	if c.Hard == nil {
		return Defaults()
	}
	all := maps.Clone(c.Hard)
	if c.Merge {
		for signal, text := range Defaults() {
			if _, set := all[signal]; !set {
				all[signal] = text
			}
		}
	}
	return all
}

// Parse reads the thresholds: hard ones, then soft ones, by signal. Errors name
// the field.
func Parse(c Config) ([]Threshold, error) {
	hard, err := parseThresholds("evictionHard", c.HardSettings())
	if err != nil {
		return nil, err
	}
	soft, err := parseThresholds("evictionSoft", c.Soft)
	if err != nil {
		return nil, err
	}
	if err := setGrace(soft, c.SoftGrace); err != nil {
		return nil, err
	}
	if c.Allocatable {
		hard = withAllocatable(hard)
	}
	all := append(hard, soft...)
	return all, setReclaim(all, c.MinReclaim)
}

// withAllocatable adds the threshold of memory to the memory of all pods.
func withAllocatable(hard []Threshold) []Threshold {
	for _, t := range hard {
		if t.Signal == MemoryAvailable {
			t.Signal = AllocatableMemoryAvailable
			return append(hard, t)
		}
	}
	return hard
}

func parseThresholds(field string, texts map[string]string) ([]Threshold, error) {
	var all []Threshold
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		text := texts[name]
		if text == "0%" || text == "100%" { // how users switch one off
			continue
		}
		amount, err := parseAmount(field, name, text)
		if err != nil {
			return nil, err
		}
		if amount.Share == 0 && amount.Quantity.Sign() <= 0 || amount.Share < 0 || amount.Share > 1 {
			return nil, &Error{Field: field + "." + name, Why: fmt.Sprintf("%q is no amount to keep free", text), Advice: `write it as "100Mi" or "10%"`}
		}
		all = append(all, Threshold{Signal: Signal(name), Amount: amount})
	}
	return all, nil
}

// parseAmount reads "100Mi" or "10%". What that may be is left to the caller.
func parseAmount(field, name, text string) (Amount, error) {
	if Signal(name).resource() == "" {
		return Amount{}, &Error{Field: field + "." + name, Why: "unknown eviction signal", Advice: "known ones are " + strings.Join(signals(), ", ")}
	}
	var a Amount
	var err error
	if number, percent := strings.CutSuffix(text, "%"); percent {
		var share float64
		share, err = strconv.ParseFloat(number, 32)
		a.Share = float32(share) / 100
	} else {
		a.Quantity, err = resource.ParseQuantity(text)
	}
	if err != nil {
		return Amount{}, &Error{Field: field + "." + name, Why: fmt.Sprintf("%q is no amount: %v", text, err), Advice: `write it as "100Mi" or "10%"`}
	}
	return a, nil
}

func signals() []string {
	return []string{
		string(MemoryAvailable), string(NodeFSAvailable), string(NodeFSInodesFree), string(ImageFSAvailable),
		string(ImageFSInodesFree), string(ContainerFSAvailable), string(ContainerFSInodesFree), string(PIDAvailable),
		string(AllocatableMemoryAvailable),
	}
}

// setGrace gives each soft threshold its time, without which it is none.
func setGrace(soft []Threshold, texts map[string]string) error {
	const field = "evictionSoftGracePeriod"
	for name, text := range texts {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return &Error{Field: field + "." + name, Why: fmt.Sprintf("%q is no time to wait", text), Advice: `write it as "1m30s"`}
		}
		for i := range soft {
			if string(soft[i].Signal) == name {
				soft[i].Grace = d
			}
		}
	}
	for _, t := range soft {
		if _, ok := texts[string(t.Signal)]; !ok {
			return &Error{Field: "evictionSoft." + string(t.Signal), Why: "it has no grace period", Advice: "give it one in " + field}
		}
	}
	return nil
}

func setReclaim(all []Threshold, texts map[string]string) error {
	const field = "evictionMinimumReclaim"
	for name, text := range texts {
		amount, err := parseAmount(field, name, text)
		if err != nil {
			return err
		}
		if cmp.Or(float64(amount.Share), float64(amount.Quantity.Sign())) < 0 {
			return &Error{Field: field + "." + name, Why: fmt.Sprintf("%q is no amount to free", text), Advice: `write it as "500Mi" or "5%"`}
		}
		for i := range all {
			s := all[i].Signal
			if string(s) == name || s == AllocatableMemoryAvailable && name == string(MemoryAvailable) {
				all[i].MinReclaim = amount
			}
		}
	}
	return nil
}

// An Error says which field of KubeletConfiguration makes no sense.
type Error struct {
	Field  string // "evictionHard.memory.available"
	Why    string
	Advice string // what to write instead
}

func (e *Error) Error() string { return "KubeletConfiguration: " + e.Field + ": " + e.Why }

// Hint says what to write instead.
func (e *Error) Hint() string { return e.Advice }
