package phases

import "slices"

// UpgradePhases lists the phases of "boot upgrade apply", or else of "boot upgrade
// node", for help and completion.
func UpgradePhases(apply bool) []Entry {
	all := List(allUpgradeSteps(apply))
	for i := range all {
		if all[i].Name == "control-plane" {
			all[i].Desc = "Replace the static pods of the control plane"
		}
	}
	return all
}

// UpgradeSkipping is [Skipping] for these phases, those of a control plane among
// them wherever it is asked.
func UpgradeSkipping(apply bool, names []string) (func(name string) bool, error) {
	return Skipping(allUpgradeSteps(apply), names)
}

// UpgradePhase returns of the phases of [Upgrade] those that a name of
// [UpgradePhases] selects.
//
// What replaces something on this node is done as in a whole upgrade: the cluster is
// noted before, and what was noted is forgotten after, unless that is of a run that
// has not ended.
func UpgradePhase(o UpgradeOptions, name string) ([]Step, error) {
	steps, err := Upgrade(o)
	if err != nil {
		return nil, err
	}
	selected, err := Only(steps, name)
	if err != nil {
		return nil, err
	}
	work := slices.DeleteFunc(slices.Clone(selected), func(s Step) bool { return !replaces(s.Name) })
	if len(work) == 0 {
		return selected, nil
	}
	unended, err := ReadUpgradeNote(o.Dirs.State)
	if err != nil {
		return nil, err
	}
	note := o.noting(work)
	selected = append([]Step{note.begin()}, selected...)
	if unended == nil {
		selected = append(selected, note.end())
	}
	return selected, nil
}

// replaces says whether a phase replaces something on this node, or belongs to
// that.
func replaces(phase string) bool {
	return within(phase, "control-plane") || slices.Contains([]string{"etcd-snapshot", "addon/kube-proxy", "kubelet-config"}, phase)
}
