package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// winsize prints the size of the terminal, once it is so many columns wide if
// the first argument says so.
func winsize(ctx context.Context, args []string, std stdio) error {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	want := 0
	if len(args) > 0 {
		var err error
		if want, err = strconv.Atoi(args[0]); err != nil {
			return err
		}
	}
	for {
		size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ) //nolint:gosec // a descriptor is small
		if err != nil {
			return fmt.Errorf("winsize: %w", err)
		}
		if want == 0 || int(size.Col) == want {
			_, err = fmt.Fprintf(std.out, "%d rows %d columns\n", size.Row, size.Col)
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.New("winsize: the terminal never had that size")
		}
	}
}

// sayBoth prints its first argument, and the second one as an error.
func sayBoth(_ context.Context, args []string, std stdio) error {
	_, err := fmt.Fprintln(std.out, args[0])
	for _, text := range args[1:] {
		fmt.Fprintln(os.Stderr, text)
	}
	return err
}
