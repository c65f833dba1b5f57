package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// workshop is a shop for the directory name of a cache, with some source.
func workshop(t *testing.T, cache, name string) *shop {
	t.Helper()
	src := t.TempDir()
	for _, file := range []string{
		"main.go", "build.go", "wrapper.go", "recipes.go", "go.mod", "go.sum", "pack/pack.go", "part/go.mod", "part.go",
	} {
		put(t, filepath.Join(src, file), file)
	}
	dir := filepath.Join(cache, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return &shop{order: order{src: src, dir: dir}, cache: cache, progress: newProgress(io.Discard)}
}

func put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// writing is a step that writes an archive and counts how often it had to.
func writing(count *int) step {
	return step{"part", sources{"part.go", "part", "PART"}, func(_ context.Context, b *bench) error {
		*count++
		return b.write("images/part.tar", func(w io.Writer) error {
			_, err := io.WriteString(w, "archive")
			return err
		})
	}}
}

func TestAStepIsDoneOnce(t *testing.T) {
	s, count := workshop(t, t.TempDir(), "one"), 0
	for range 2 {
		if err := s.run(t.Context(), writing(&count)); err != nil {
			t.Fatal(err)
		}
	}
	if count != 1 {
		t.Errorf("done %d times", count)
	}
	if got := content(t, filepath.Join(s.dir, "images/part.tar")); got != "archive" {
		t.Errorf("the archive has %q", got)
	}
	// What `printf archive | sha256sum` says.
	const sum = "0eb3e36bfb24dcd9bb1d1bece1531216b59539a8fde17ee80224af0653c92aa3"
	if got := content(t, filepath.Join(s.dir, "images/part.tar.sha256")); got != sum+"  part.tar\n" {
		t.Errorf("beside the archive is %q", got)
	}
	if err := s.writeSums(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, filepath.Join(s.dir, sumsName)); got != sum+"  images/part.tar\n" {
		t.Errorf("the index is %q", got)
	}
}

func TestAStepIsLinkedFromAnotherDirectory(t *testing.T) {
	cache, count := t.TempDir(), 0
	old := workshop(t, cache, "old")
	if err := old.run(t.Context(), writing(&count)); err != nil {
		t.Fatal(err)
	}
	s := workshop(t, cache, "new")
	put(t, filepath.Join(s.dir, "images/part.tar"), "left behind by a killed build")
	if err := s.run(t.Context(), writing(&count)); err != nil {
		t.Fatal(err)
	}
	if count != 1 {
		t.Errorf("done %d times", count)
	}
	if got := content(t, filepath.Join(s.dir, "images/part.tar")); got != "archive" {
		t.Errorf("the archive has %q", got)
	}

	other := workshop(t, cache, "other")
	put(t, filepath.Join(other.src, "main.go"), "something else")
	if err := other.run(t.Context(), writing(&count)); err != nil {
		t.Fatal(err)
	}
	if count != 1 {
		t.Error("done anew for what does not concern it")
	}
}

func TestAStepIsDoneAnewForOtherSources(t *testing.T) {
	cache, count := t.TempDir(), 0
	for i, change := range []func(*shop){
		func(*shop) {},
		func(s *shop) { put(t, filepath.Join(s.src, "part/go.mod"), "another version") },
		func(s *shop) { put(t, filepath.Join(s.src, "part.go"), "another way") },
		func(s *shop) { put(t, filepath.Join(s.src, "pack/pack.go"), "another format") },
		func(s *shop) { s.versions = Versions{"PART": "v2"} },
	} {
		s := workshop(t, cache, strconv.Itoa(i))
		change(s)
		if err := s.run(t.Context(), writing(&count)); err != nil {
			t.Fatal(err)
		}
		if count != i+1 {
			t.Errorf("change %d: done %d times in all", i, count)
		}
	}
}

func TestAFailedStepLeavesNothing(t *testing.T) {
	s := workshop(t, t.TempDir(), "one")
	broken := errors.New("broken")
	err := s.run(t.Context(), step{"part", nil, func(_ context.Context, b *bench) error {
		return b.write("images/part.tar", func(w io.Writer) error {
			_, err := io.WriteString(w, "half an arch")
			return errors.Join(err, broken)
		})
	}})
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	left, err := os.ReadDir(s.dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSweepRemovesWhatAKilledBuildLeft(t *testing.T) {
	s := workshop(t, t.TempDir(), "one")
	put(t, filepath.Join(s.dir, workPrefix+"part-1", "stage", "half"), "")
	put(t, filepath.Join(s.dir, "bin", "kubectl"), "")
	if err := s.sweep(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(s.dir)
	if err != nil || len(left) != 1 || left[0].Name() != "bin" {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestBuildsTakeTurns(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	var out bytes.Buffer
	unlock, err := lock(name, newProgress(&out))
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error)
	var waiting bytes.Buffer
	go func() {
		unlock, err := lock(name, newProgress(&waiting))
		if err == nil {
			unlock()
		}
		second <- err
	}()
	unlock()
	if err := <-second; err != nil {
		t.Error(err)
	}
	if out.Len() != 0 {
		t.Errorf("the first of two waited: %s", &out)
	}
}

// dir.sh and the builder must agree on what decides the outcome, or a change
// would be taken for built already.
func TestDirIsNamedAfterWhatDecides(t *testing.T) {
	src := t.TempDir()
	script := filepath.Join(src, "dir.sh")
	put(t, script, content(t, "dir.sh"))
	name := func() string {
		cmd := exec.CommandContext(t.Context(), "sh", script)
		cmd.Env = append(os.Environ(), "BOOT_CACHE=/cache")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	put(t, filepath.Join(src, "main.go"), "")
	last := name()
	if filepath.Dir(last) != "/cache" || len(filepath.Base(last)) != 16 {
		t.Errorf("named %s", last)
	}
	for _, file := range []string{
		"main.go", "new.go", "versions.env", "part/go.mod", "part/go.sum", "part/part.c",
		"main_test.go", "README.md", "part/notes.txt",
	} {
		put(t, filepath.Join(src, file), "changed")
		now := name()
		if changed := now != last; changed != decides(filepath.Base(file)) {
			t.Errorf("%s: the name changed: %v, but the builder would use it: %v", file, changed, decides(filepath.Base(file)))
		}
		last = now
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	failure := errors.New("failure")
	err := p.track("etcd", func() error {
		p.still()
		return p.track("coredns", func() error { return failure })
	})
	if !errors.Is(err, failure) {
		t.Error("error", err)
	}
	p.still() // nothing is under way, so nothing is said
	var got []string
	for line := range strings.Lines(out.String()) {
		_, said, _ := strings.Cut(line, "s  ")
		got = append(got, strings.TrimSpace(said))
	}
	want := []string{"etcd ...", "still at etcd (0s)", "coredns ...", "coredns failed after 0s", "etcd failed after 0s"}
	if !slices.Equal(got, want) {
		t.Errorf("said %q, want %q", got, want)
	}
}

func TestCommandExplainsItself(t *testing.T) {
	for _, args := range [][]string{nil, {"bake"}, {"build"}} {
		if err := command(t.Context(), args, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
