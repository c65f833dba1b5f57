package phases

import (
	"fmt"
	"slices"
	"strings"

	"boot.internal/hint"
)

// An Entry is one line of a listing: a group or a phase of it.
type Entry struct {
	Name string
	Desc string
}

// List returns the steps by name, each group's before its members, whatever
// order they run in. A phase whose work is done in two places is listed once.
func List(steps []Step) []Entry {
	var entries []Entry
	for _, s := range steps {
		group, _, member := strings.Cut(s.Name, "/")
		switch {
		case listed(entries, s.Name):
			continue
		case !member:
			entries = append(entries, Entry{s.Name, s.Desc})
			continue
		case !listed(entries, group):
			entries = append(entries, Entry{group, groupDesc(group)})
		}
		entries = slices.Insert(entries, endOf(entries, group), Entry{s.Name, s.Desc})
	}
	return entries
}

func listed(entries []Entry, name string) bool {
	return slices.ContainsFunc(entries, func(e Entry) bool { return e.Name == name })
}

// endOf returns the index after the last entry that belongs to group.
func endOf(entries []Entry, group string) int {
	for i, e := range slices.Backward(entries) {
		if within(e.Name, group) {
			return i + 1
		}
	}
	return len(entries)
}

func groupDesc(group string) string {
	switch group {
	case "certs":
		return "Generate certificates"
	case "kubeconfig":
		return "Generate the kubeconfig files of the administrator and the components"
	case "etcd":
		return "Generate the static Pod manifest of a local etcd"
	case "control-plane":
		return "Generate the static Pod manifests of the control plane"
	case "upload-config":
		return "Upload the configuration to ConfigMaps"
	case "addon":
		return "Install the add-ons"
	default:
		return "All phases of " + group
	}
}

// Only returns the steps name selects: one phase, or all of a group, for which
// "certs" and "certs/all" are the same.
func Only(steps []Step, name string) ([]Step, error) {
	if err := known(steps, name); err != nil {
		return nil, err
	}
	group := strings.TrimSuffix(name, "/all")
	var selected []Step
	for _, s := range steps {
		if within(s.Name, group) {
			selected = append(selected, s)
		}
	}
	return selected, nil
}

// Skipping returns the Runner.Skip for names, each of a phase or a group.
func Skipping(steps []Step, names []string) (func(name string) bool, error) {
	for _, name := range names {
		if err := known(steps, name); err != nil {
			return nil, err
		}
	}
	return func(step string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return within(step, strings.TrimSuffix(name, "/all"))
		})
	}, nil
}

// within says whether the step is the named one or of the named group.
func within(step, name string) bool {
	return step == name || strings.HasPrefix(step, name+"/")
}

func known(steps []Step, name string) error {
	group := strings.TrimSuffix(name, "/all")
	if slices.ContainsFunc(steps, func(s Step) bool { return within(s.Name, group) }) {
		return nil
	}
	var names []string
	for _, e := range List(steps) {
		names = append(names, e.Name)
	}
	return hint.With(fmt.Errorf("no phase is called %q", name), "the phases are: "+strings.Join(names, ", "))
}
