// Package journal remembers what boot changed on a host outside its own
// directories and what it found there, so that a reset can undo the one and
// spare the other.
//
// It decides nothing about what is worth remembering. What it holds is written
// before a change is made, so a change is never made unknown; and first notes
// win, since later ones are about boot's own work.
package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"boot.internal/atomicfile"
	"boot.internal/filelock"
)

// A Kind is what an entry is about.
type Kind string

// The kinds; the zero Kind is none.
const (
	Node   Kind = "node"   // boot makes this host the node of that name
	Found  Kind = "found"  // a path that was there before boot
	Sysctl Kind = "sysctl" // a kernel setting that boot or a component changes
	Module Kind = "module" // a kernel module that boot loaded
)

// An Entry is one thing to remember.
type Entry struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`          // node, path, setting or module
	Was  string `json:"was,omitempty"` // the setting's value before boot
}

// A Journal is the file that holds the entries.
type Journal struct{ path string }

// At returns the journal at path. It need not exist.
func At(path string) *Journal { return &Journal{path} }

// Path is where the journal is.
func (j *Journal) Path() string { return j.path }

// Begun reports whether boot has begun to make this host a node, and has not
// been reset since.
func (j *Journal) Begun() (bool, error) {
	entries, err := j.Entries()
	return slices.ContainsFunc(entries, func(e Entry) bool { return e.Kind == Node }), err
}

// Entries returns everything noted, in order.
func (j *Journal) Entries() ([]Entry, error) {
	data, err := os.ReadFile(j.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	var entries []Entry
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("read the journal: %s: %w", j.path, err)
	}
	return entries, nil
}

// Note adds the entries that are not there yet.
func (j *Journal) Note(ctx context.Context, add ...Entry) error {
	return j.change(ctx, func(entries []Entry) []Entry {
		for _, e := range add {
			if !slices.ContainsFunc(entries, e.same) {
				entries = append(entries, e)
			}
		}
		return entries
	})
}

// Drop forgets an entry once it has been undone.
func (j *Journal) Drop(ctx context.Context, e Entry) error {
	return j.change(ctx, func(entries []Entry) []Entry { return slices.DeleteFunc(entries, e.same) })
}

// same reports whether both are about one thing.
func (e Entry) same(other Entry) bool { return e.Kind == other.Kind && e.Name == other.Name }

func (j *Journal) change(ctx context.Context, f func([]Entry) []Entry) error {
	l, err := filelock.Take(ctx, j.path+".lock")
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	defer l.Release()
	entries, err := j.Entries()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(f(entries), "", "  ")
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return atomicfile.Write(j.path, append(data, '\n'), 0o600)
}
