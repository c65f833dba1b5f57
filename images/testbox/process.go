package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"
)

func sleep(ctx context.Context, args []string, _ stdio) error {
	d, err := duration(args[0])
	if err != nil {
		return err
	}
	pause(ctx, d)
	return nil
}

// exit ends with the code, now or later. If it is stopped before, it has not failed.
func exit(ctx context.Context, args []string, _ stdio) error {
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	after, err := option(args[1:], "after")
	if err != nil {
		return err
	}
	if !pause(ctx, after) {
		return nil
	}
	return exitCode(code)
}

func trapTerm(ctx context.Context, args []string, std stdio) error {
	d, err := duration(args[0])
	if err != nil {
		return err
	}
	code := 0
	if len(args) > 1 {
		if code, err = strconv.Atoi(args[1]); err != nil {
			return err
		}
	}
	<-ctx.Done()
	if _, err := fmt.Fprintln(std.out, "asked to stop"); err != nil {
		return err
	}
	time.Sleep(d)
	return exitCode(code)
}

func logLines(ctx context.Context, args []string, std stdio) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	every, err := option(args[1:], "every")
	if err != nil {
		return err
	}
	for i := 1; i <= n; i++ {
		if _, err := fmt.Fprintf(std.out, "line %d\n", i); err != nil {
			return err
		}
		if !pause(ctx, every) {
			return nil
		}
	}
	return nil
}

func execOK(_ context.Context, _ []string, std stdio) error {
	_, err := fmt.Fprintln(std.out, "ok")
	return err
}

func fillMemory(ctx context.Context, args []string, std stdio) error {
	mib, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	taken := make([][]byte, 0, mib)
	for range mib {
		chunk := make([]byte, 1<<20)
		for i := 0; i < len(chunk); i += os.Getpagesize() {
			chunk[i] = 1
		}
		taken = append(taken, chunk)
	}
	if _, err := fmt.Fprintf(std.out, "holding %d MiB\n", len(taken)); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// pause waits, and says whether it could without being asked to stop.
func pause(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// option finds a duration behind a word.
func option(args []string, word string) (time.Duration, error) {
	if len(args) == 2 && args[0] == word {
		return duration(args[1])
	}
	if len(args) > 0 {
		return 0, fmt.Errorf("want %q and a duration, have %q", word, args)
	}
	return 0, nil
}

// duration reads 2s and 1m30s, and like sleep(1) also plain seconds and "infinity".
func duration(text string) (time.Duration, error) {
	if text == "infinity" {
		return 1<<63 - 1, nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	return time.ParseDuration(text)
}
