package phases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fileIs is the smallest phase there is: one file with one content.
func fileIs(path, want string) Phase {
	return PlanFunc(func(context.Context) ([]Change, error) {
		got, err := os.ReadFile(path)
		if err == nil && bytes.Equal(got, []byte(want)) {
			return nil, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		return []Change{{
			Desc:  "write " + filepath.Base(path),
			Apply: func(context.Context) error { return os.WriteFile(path, []byte(want), 0o600) },
		}}, nil
	})
}

// trace runs steps and writes down what was reported, a line an event.
func trace(ctx context.Context, r Runner, steps ...Step) (string, error) {
	var b strings.Builder
	r.Report = func(e Event) {
		fmt.Fprintf(&b, "%s %s", e.Step, e.State)
		if e.Text != "" {
			fmt.Fprintf(&b, " %s", e.Text)
		}
		b.WriteString("\n")
	}
	err := r.Run(ctx, steps)
	return b.String(), err
}

func fails(err error) Phase {
	return PlanFunc(func(context.Context) ([]Change, error) { return nil, err })
}

func TestRunner(t *testing.T) {
	dir := t.TempDir()
	a, c := filepath.Join(dir, "a"), filepath.Join(dir, "c")
	steps := []Step{
		{Name: "a", Phase: fileIs(a, "1")},
		{Name: "b", Phase: fails(errors.New("boom"))},
		{Name: "c", Phase: fileIs(c, "2")},
	}
	skip := func(name string) bool { return name == "b" }

	t.Run("a dry run says everything and writes nothing", func(t *testing.T) {
		got, err := trace(t.Context(), Runner{DryRun: true, Skip: skip}, steps...)
		want := "a started\na changing write a\na done\nb skipped\nc started\nc changing write c\nc done\n"
		if err != nil || got != want {
			t.Fatalf("err %v, got\n%s", err, got)
		}
		if _, err := os.Stat(a); !errors.Is(err, os.ErrNotExist) {
			t.Fatal("dry run wrote a file")
		}
	})
	t.Run("the first error ends the run and names its phase", func(t *testing.T) {
		got, err := trace(t.Context(), Runner{}, steps...)
		if err == nil || err.Error() != "phase b: plan: boom" {
			t.Fatalf("error: %v", err)
		}
		if want := "a started\na changing write a\na done\nb started\nb failed\n"; got != want {
			t.Fatalf("got\n%s", got)
		}
	})
	t.Run("running again does only what is left", func(t *testing.T) {
		got, err := trace(t.Context(), Runner{Skip: skip}, steps...)
		want := "a started\na done\nb skipped\nc started\nc changing write c\nc done\n"
		if err != nil || got != want {
			t.Fatalf("err %v, got\n%s", err, got)
		}
	})
}

func TestRunnerRefusesUnconverged(t *testing.T) {
	forever := PlanFunc(func(context.Context) ([]Change, error) {
		return []Change{{"append to log", func(context.Context) error { return nil }}}, nil
	})
	_, err := trace(t.Context(), Runner{}, Step{Name: "log", Phase: forever})
	if !errors.Is(err, ErrUnconverged) || !strings.Contains(err.Error(), "append to log") {
		t.Fatal(err)
	}
}

func TestRunnerStopsWhenCancelled(t *testing.T) {
	reason := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	p := PlanFunc(func(context.Context) ([]Change, error) {
		return []Change{
			{"one", func(context.Context) error { cancel(reason); return nil }},
			{"two", func(context.Context) error { t.Error("ran two"); return nil }},
		}, nil
	})
	never := PlanFunc(func(context.Context) ([]Change, error) { t.Error("planned after the end"); return nil, nil })
	if _, err := trace(ctx, Runner{}, Step{Name: "p", Phase: p}, Step{Name: "q", Phase: never}); !errors.Is(err, reason) {
		t.Fatal(err)
	}
	if _, err := trace(ctx, Runner{}, Step{Name: "q", Phase: never}); !errors.Is(err, reason) {
		t.Fatal(err)
	}
}

func TestRunnerPassesOnWhatPhasesSay(t *testing.T) {
	done := false
	p := PlanFunc(func(ctx context.Context) ([]Change, error) {
		warn(ctx, "swap is on")
		if done {
			return nil, nil
		}
		return []Change{{"wait for it", func(ctx context.Context) error {
			waiting(ctx, "etcd")
			done = true
			return nil
		}}}, nil
	})
	got, err := trace(t.Context(), Runner{}, Step{Name: "p", Phase: p})
	want := "p started\np warned swap is on\np changing wait for it\np waiting etcd\np done\n"
	if err != nil || got != want {
		t.Fatalf("err %v, got\n%s", err, got)
	}
}
