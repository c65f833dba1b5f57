package phases

import (
	"fmt"
	"strings"
)

// kernelDefaults are settings that every kubelet makes, so that the kernel neither
// refuses memory that pods may never use nor stays down after a fault, and has room
// for the keys of containers. With protectKernelDefaults it refuses a host instead
// that has them otherwise.
func kernelDefaults() []setting {
	return []setting{
		{name: "vm.overcommit_memory", want: 1, optional: true}, // always
		{name: "vm.panic_on_oom", want: 0, optional: true},      // what is killed is for the kernel to choose
		{name: "kernel.panic", want: 10, optional: true},        // restart after so many seconds
		{name: "kernel.panic_on_oops", want: 1, optional: true},
		{name: "kernel.keys.root_maxkeys", want: 1_000_000, optional: true},
		{name: "kernel.keys.root_maxbytes", want: 25_000_000, optional: true},
	}
}

// protected finds which of the kernel's defaults are not as they should be and must
// not be changed.
func (r readiness) protected() []Finding {
	if !r.ProtectKernelDefaults {
		return nil
	}
	var all []Finding
	for _, s := range kernelDefaults() {
		is := ""
		switch have, err := r.host.sysctlInt(s.name); {
		case err != nil:
			is = fmt.Sprintf("cannot be read (%v)", err)
		case !s.met(have):
			is = fmt.Sprintf("is %d", have)
		default:
			continue
		}
		all = append(all, Finding{
			ID: s.id(), Text: fmt.Sprintf("%s %s and should be %d, and protectKernelDefaults forbids to change it", s.name, is, s.want),
			Hint: s.byHand(),
		})
	}
	return all
}

func (s setting) byHand() string { return fmt.Sprintf("run 'sysctl -w %s=%d'", s.name, s.want) }

// A ProtectedError is of a host whose kernel is not set as pods need it, and must
// not be changed.
type ProtectedError struct{ Findings []Finding }

// Error names the settings.
func (e *ProtectedError) Error() string {
	var all []string
	for _, f := range e.Findings {
		all = append(all, f.Text)
	}
	return strings.Join(all, "; ")
}

// Hint says how they are set.
func (e *ProtectedError) Hint() string {
	var all []string
	for _, f := range e.Findings {
		all = append(all, f.Hint)
	}
	return strings.Join(all, "; ") + "; in /etc/sysctl.d it outlives a restart of the host"
}
