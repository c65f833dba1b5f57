package main

import (
	"bufio"
	"context"
	"os"
	"strings"

	"golang.org/x/term"
)

// canAsk says whether there is somebody to ask.
func canAsk() bool { return term.IsTerminal(int(os.Stdin.Fd())) }

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
