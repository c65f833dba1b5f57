package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// recordDir holds a record for each step that is done.
const recordDir = ".steps"

// sumSuffix ends the name of a file that holds the digest of the one beside it.
const sumSuffix = ".sha256"

// A record is the name of the file that lists what a step made, with digests.
// The name says which step it was and what decided the outcome, so a record of
// the same name in another directory of the cache lists the same files: they
// are linked here and not made again.
type record string

func (s *shop) recordOf(st step) (record, error) {
	key, err := st.sources.digest(s.src, s.versions)
	if err != nil {
		return "", fmt.Errorf("digest sources of %s: %w", st.name, err)
	}
	return record(st.name + "-" + key), nil
}

func (r record) path(dir string) string { return filepath.Join(dir, recordDir, string(r)) }

func (r record) done(dir string) bool {
	_, err := os.Stat(r.path(dir))
	return err == nil
}

// find returns a directory of the cache where the step is done, or "".
func (r record) find(cache string) string {
	found, err := filepath.Glob(r.path(filepath.Join(cache, "*")))
	if err != nil || len(found) == 0 {
		return ""
	}
	return filepath.Dir(filepath.Dir(found[0]))
}

// linkFrom gives dir the files that the step made in old.
func (r record) linkFrom(old, dir string) error {
	list, err := os.ReadFile(r.path(old))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		_, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if err := link(filepath.Join(old, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return r.write(dir, list)
}

func link(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	err := os.Link(from, to)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	// A killed build left it, before it could say so in its record.
	if err := os.Remove(to); err != nil {
		return err
	}
	return os.Link(from, to)
}

// settle moves everything from stage to dir, and then says that the step is done.
func (r record) settle(stage, dir string) error {
	var list bytes.Buffer
	err := filepath.WalkDir(stage, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(stage, name)
		if err != nil {
			return err
		}
		sum, err := digestFile(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&list, "%s  %s\n", sum, rel)
		target := filepath.Join(dir, rel)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.Rename(name, target)
	})
	if err != nil {
		return fmt.Errorf("settle in %s: %w", dir, err)
	}
	return r.write(dir, list.Bytes())
}

func (r record) write(dir string, list []byte) error {
	if err := os.MkdirAll(filepath.Join(dir, recordDir), 0o755); err != nil {
		return err
	}
	return replace(r.path(dir), list)
}

// replace writes a file whole or not at all.
func replace(name string, data []byte) error {
	tmp := filepath.Join(filepath.Dir(name), workPrefix+filepath.Base(name))
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

// writeSums writes the index of all that the steps of this directory made, in
// the format of sha256sum.
func (s *shop) writeSums() error {
	records, err := filepath.Glob(filepath.Join(s.dir, recordDir, "*"))
	if err != nil {
		return err
	}
	var lines []string
	for _, name := range records {
		list, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(list)) {
			if !strings.HasSuffix(strings.TrimSpace(line), sumSuffix) {
				lines = append(lines, line)
			}
		}
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
	return replace(filepath.Join(s.dir, sumsName), []byte(strings.Join(lines, "")))
}

// Sources are what decides what a step makes: files, directories, and names in
// versions.env, which are in capitals.
type sources []string

// shared decides what every step makes.
func shared() sources {
	return sources{"build.go", "wrapper.go", "recipes.go", "go.mod", "go.sum", "pack", "SOURCE_DATE_EPOCH"}
}

// digest is a digest of the toolchain, of what all steps share and of the
// sources.
func (s sources) digest(src string, v Versions) (string, error) {
	sum := sha256.New()
	_, _ = fmt.Fprintln(sum, runtime.Version(), runtime.GOARCH) // a digest takes all
	for _, name := range append(shared(), s...) {
		if name == strings.ToUpper(name) {
			_, _ = fmt.Fprintln(sum, name, v[name])
			continue
		}
		if err := hashSource(sum, src, name); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// hashSource hashes a file, or those of a directory that decide.
func hashSource(sum io.Writer, src, name string) error {
	entries, err := os.ReadDir(filepath.Join(src, name))
	if errors.Is(err, syscall.ENOTDIR) {
		return hashFile(sum, src, name)
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() || !decides(e.Name()) {
			continue
		}
		if err := hashFile(sum, src, filepath.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// decides tells the files that decide what is built from those that test or
// describe it. images/dir.sh draws the same line.
func decides(name string) bool {
	switch filepath.Ext(name) {
	case ".go":
		return !strings.HasSuffix(name, "_test.go")
	case ".mod", ".sum", ".env", ".c":
		return true
	}
	return false
}

func hashFile(w io.Writer, src, name string) error {
	sum, err := digestFile(filepath.Join(src, name))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, name, sum)
	return err
}

func digestFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it was only read
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
