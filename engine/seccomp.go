package engine

import (
	_ "embed" // for the profile
	"path/filepath"
)

// sandboxProfile is what the process of a sandbox may ask of the kernel: to start,
// to wait, and to see to the ends of others. All of it is in the engine's default
// profile as well, which knows four times as many calls for each of three
// architectures. To make a filter of that takes longer than to start the process.
//
//go:embed sandbox.json
var sandboxProfile []byte

// SandboxSeccomp returns the path of a seccomp profile that is made for sandboxes, ""
// where they do best with the engine's default: boot knows its own engine alone. The
// file is there once the engine was started.
func (e *Engine) SandboxSeccomp() string {
	if !e.own {
		return ""
	}
	return e.o.sandboxProfilePath()
}

func (o Options) sandboxProfilePath() string {
	return filepath.Join(o.root(), "sandbox-seccomp.json")
}
