package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// chains lists the chains that kube-proxy makes where it uses iptables, those of
// ours, and, if the pod network is ours, those of the CNI plugins. They go by
// name.
func chains(ctx context.Context, ours bool) ([]Leftover, error) {
	prefixes := []string{"KUBE-", chainPrefix}
	if ours {
		prefixes = append(prefixes, "CNI-")
	}
	var all []Leftover
	for _, program := range []string{iptablesV4, iptablesV6} {
		if _, err := exec.LookPath(program + "-save"); err != nil {
			continue
		}
		rules, err := exec.CommandContext(ctx, program+"-save").Output()
		if err != nil {
			return nil, fmt.Errorf("list chains: %w", run(err))
		}
		clean := withoutChains(string(rules), prefixes)
		if clean == string(rules) {
			continue
		}
		all = append(all, Leftover{"delete " + program + " chains " + strings.Join(prefixes, "*, ") + "*", func(ctx context.Context) error {
			cmd := exec.CommandContext(ctx, program+"-restore")
			cmd.Stdin = strings.NewReader(clean)
			_, err := cmd.Output()
			return run(err)
		}})
	}
	return all, nil
}

// run adds what a program said to the error it ended with.
func run(err error) error {
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(failed.Stderr))
	}
	return err
}

// withoutChains returns the rules, in the form of iptables-save, without the
// chains that have such a name and without the rules that jump to them.
func withoutChains(rules string, prefixes []string) string {
	var b strings.Builder
	for line := range strings.Lines(rules) {
		if !mentions(line, prefixes) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// mentions reports whether the line makes such a chain, adds to it, or jumps to
// it.
func mentions(line string, prefixes []string) bool {
	ours := func(chain string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(chain, p) })
	}
	words := strings.Fields(line)
	if len(words) == 0 {
		return false
	}
	if name, ok := strings.CutPrefix(words[0], ":"); ok {
		return ours(name)
	}
	for i, w := range words[:len(words)-1] {
		if (w == "-A" || w == "-j" || w == "-g") && ours(words[i+1]) {
			return true
		}
	}
	return false
}
