package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// AnyHost stands for the host that a configuration is for where that is not known:
// its name and address are what kubeadm prints in their place.
func AnyHost() Host {
	return Host{Name: "node", Default: []netip.Addr{netip.AddrFrom4([4]byte{1, 2, 3, 4})}, Elsewhere: true}
}

// Check reads a file of any of the documents boot reads, as each of the commands
// that have a use for one would, but for what depends on the host. It returns
// warnings. What is wrong comes back as one *[Error].
//
// Data is read if it is not nil, else the file at path.
func Check(path string, data []byte) ([]string, error) {
	data, err := readSource(path, data)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	docs, err := decode(path, data)
	if err != nil {
		return nil, err
	}
	var c checked
	if docs.Init != nil || docs.Cluster != nil || docs.Boot != nil && docs.Join == nil {
		i, err := LoadInit(InitOptions{Path: path, Data: data, Host: AnyHost()})
		c.add(err, func() []string { return i.Warnings })
	}
	if docs.Join != nil {
		j, err := LoadJoin(JoinOptions{Path: path, Data: data, Host: AnyHost()})
		c.add(err, func() []string { return j.Warnings })
	}
	if docs.Reset != nil {
		_, err := LoadReset(ResetOptions{Path: path, Data: data})
		c.add(err, func() []string { return nil })
	}
	if docs.Upgrade != nil {
		for _, command := range []UpgradeCommand{UpgradePlan, UpgradeApply, UpgradeNode, UpgradeDiff} {
			u, err := LoadUpgrade(command, UpgradeOptions{Path: path, Data: data})
			c.add(err, func() []string { return u.Warnings })
		}
	}
	if docs.Kubelet != nil {
		l, err := LoadKubelet(LoopOptions{Path: path, Data: data})
		c.add(err, func() []string { return l.Warnings })
	}
	if docs.empty() {
		c.findings = []Finding{{Message: "the file has no document", Hint: "boot reads " + supported()}}
	}
	return c.result(path)
}

func (d *documents) empty() bool {
	return d.Init == nil && d.Cluster == nil && d.Join == nil && d.Reset == nil && d.Upgrade == nil &&
		d.Boot == nil && d.Kubelet == nil && d.KubeProxy == nil
}

// checked is what several commands make of one file.
type checked struct {
	warnings []string
	findings []Finding
	other    error
}

// add takes over what one command has found; warnings are asked for if it would run.
func (c *checked) add(err error, warnings func() []string) {
	var wrong *Error
	switch {
	case err == nil:
		c.warnings = append(c.warnings, warnings()...)
	case errors.As(err, &wrong):
		c.findings = append(c.findings, wrong.Findings...)
	default:
		c.other = errors.Join(c.other, err)
	}
}

// result says each thing once, in the order of the file.
func (c *checked) result(path string) ([]string, error) {
	slices.Sort(c.warnings)
	warnings := slices.Compact(c.warnings)
	if c.other != nil {
		return warnings, c.other
	}
	var once []Finding
	for _, f := range c.findings {
		if !slices.Contains(once, f) {
			once = append(once, f)
		}
	}
	v := validator{source: path, findings: once}
	return warnings, v.err()
}
