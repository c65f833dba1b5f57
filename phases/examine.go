package phases

import (
	"context"
	"fmt"
	"slices"
)

// Examine makes the checks of preflight on a host that is a node already, and
// finds settings of the kernel that it has lost since. It changes nothing. What
// stops an init or a join is without Warning here as well.
func Examine(ctx context.Context, o PreflightOptions) []Finding {
	if o.host == nil {
		o.host = thisHost()
	}
	p := preflight{o}
	return slices.Concat(p.look(ctx, true), p.readiness().lost())
}

// lost finds what the host was given when it was made a node, and does not have
// any more.
func (r readiness) lost() []Finding {
	all := r.protected()
	for _, s := range r.settings() {
		have, err := r.host.sysctlInt(s.name)
		if err != nil || s.met(have) {
			continue // a kernel without it was accepted with a warning
		}
		all = append(all, Finding{
			ID: s.id(), Text: fmt.Sprintf("%s is %d and should be %d", s.name, have, s.want),
			Hint: fmt.Sprintf("sysctl -w %s=%d", s.name, s.want), Warning: s.optional,
		})
	}
	for _, f := range []feature{overlayfs(), brNetfilter()} {
		if r.host.supports(f) == loadable {
			all = append(all, noted("SystemVerification", "modprobe "+f.module, "the kernel module %s is not loaded any more", f.module)...)
		}
	}
	return all
}
