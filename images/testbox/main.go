// Command testbox is what the containers of end-to-end tests run: one small
// program that sleeps, fails, serves and writes on command. It is called by the
// name of a command, or with it as the first argument.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if _, ok := commands()[name]; !ok && len(args) > 0 {
		name, args = args[0], args[1:]
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := call(ctx, name, args, stdio{os.Stdin, os.Stdout})
	stop()
	var code exitCode
	if errors.As(err, &code) {
		os.Exit(int(code)) //nolint:forbidigo // this is main
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testbox:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// stdio is what a command reads from and writes to.
type stdio struct {
	in  io.Reader
	out io.Writer
}

// An exitCode ends the program with that code and says nothing.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit %d", int(c)) }

// A command does one thing. Its context ends with SIGTERM or SIGINT, on which
// it returns nil: a container that is asked to stop has not failed.
type command struct {
	usage string
	args  int // the fewest it takes
	run   func(ctx context.Context, args []string, std stdio) error
}

func commands() map[string]command {
	return map[string]command{
		"sleep":       {"sleep DURATION", 1, sleep},
		"exit":        {"exit CODE [after DURATION]", 1, exit},
		"trap-term":   {"trap-term DURATION [CODE]: after SIGTERM, take that long to stop", 1, trapTerm},
		"log":         {"log LINES [every DURATION]", 1, logLines},
		"exec-ok":     {"exec-ok: say ok", 0, execOK},
		"fill-memory": {"fill-memory MIB: take and touch memory, then wait", 1, fillMemory},
		"cat":         {"cat [FILE ...]: or standard input", 0, cat},
		"ls":          {"ls DIR: modes, owners and names", 1, ls},
		"write":       {"write FILE TEXT", 2, write},
		"env":         {"env [NAME]", 0, env},
		"id":          {"id: user, groups and capabilities", 0, id},
		"tar":         {"tar c|x f - [-C DIR] [PATH ...]: as kubectl cp calls it", 1, tarCommand},
		"test":        {"test -d|-e|-f PATH", 2, test},
		"winsize":     {"winsize [COLUMNS]: print the size of the terminal, once it is so wide", 0, winsize},
		"say":         {"say TEXT [TEXT]: the second as an error", 1, sayBoth},
		"http":        {"http :PORT [--ready-file FILE]: /healthz, /hostname, /env, /metrics", 1, serveHTTP},
		"tcp":         {"tcp :PORT: echo what comes", 1, serveTCP},
		"grpc-health": {"grpc-health PORT [--ready-file FILE]", 1, serveGRPC},
		"get":         {"get URL: print the answer, fail if it is no success", 1, get},
		"resolve":     {"resolve NAME: print its addresses", 1, resolve},
	}
}

func call(ctx context.Context, name string, args []string, std stdio) error {
	c, ok := commands()[name]
	if !ok || len(args) < c.args {
		return usage()
	}
	return c.run(ctx, args, std)
}

func usage() error {
	var b strings.Builder
	b.WriteString("usage:")
	all := commands()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.WriteString("\n  " + all[name].usage)
	}
	return errors.New(b.String())
}
