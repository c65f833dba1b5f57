package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/term"

	"boot.internal/hint"
)

// canAsk says whether there is somebody to ask: who reads events is not.
func (u *ui) canAsk() bool { return u.stream == nil && term.IsTerminal(int(os.Stdin.Fd())) }

// confirm asks whether to go on. No answer is no.
func confirm(ctx context.Context, ui *ui, question string) (yes bool, err error) {
	ui.printf("%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n') // no answer is no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		if a == "y" || a == "yes" {
			return true, nil
		}
		ui.printf("Nothing has been changed.\n")
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// ask is confirm where there is somebody to ask, and else an error, which names what
// asks.
func (u *ui) ask(ctx context.Context, what, question string) (yes bool, err error) {
	if !u.canAsk() {
		return false, withCode(exitValidation, hint.With(
			errors.New(what+" asks before it changes anything, and there is no terminal to ask on"),
			"run it with --yes to not be asked, or with --dry-run to see what it would do"))
	}
	return confirm(ctx, u, question)
}
