package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Wrapper is a module below this directory that pins one component. Each
// component has its own, so that none is built with the dependencies of another.
type Wrapper struct {
	Dir     string // the directory that holds its go.mod
	Module  string // the component's module
	Version string // its name in versions.env
}

// A Build is one run of the Go compiler in a wrapper.
type Build struct {
	Wrapper  Wrapper
	Packages []string // full paths of main packages
	Tags     []string
	Stamp    map[string]string // values of string variables, by full name
	Cgo      bool              // link statically against C libraries
}

// Run leaves the programs in the directory out, named after their packages.
func (b Build) Run(ctx context.Context, src, out string) error {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", b.ldflags()}
	if len(b.Tags) > 0 {
		args = append(args, "-tags", strings.Join(b.Tags, ","))
	}
	args = append(args, "-o", out+string(filepath.Separator))
	cmd := goIn(ctx, filepath.Join(src, b.Wrapper.Dir), append(args, b.Packages...)...)
	cgo := "CGO_ENABLED=0"
	if b.Cgo {
		cgo = "CGO_ENABLED=1"
	}
	cmd.Env = append(cmd.Env, cgo)
	return run(cmd)
}

func (b Build) ldflags() string {
	flags := []string{"-s", "-w"}
	if b.Cgo {
		flags = append(flags, "-linkmode external", "-extldflags -static")
	}
	for _, name := range sortedKeys(b.Stamp) {
		flags = append(flags, "-X "+name+"="+b.Stamp[name])
	}
	return strings.Join(flags, " ")
}

// run runs the command; what it said becomes part of the error.
func run(cmd *exec.Cmd) error {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w\n%s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}
