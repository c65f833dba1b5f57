package main

import (
	"os"
	"path/filepath"
)

// Where labs are: what goes with the machine's next start, and disks.
const (
	runDir  = "/run/boot-lab"
	diskDir = "/var/lib/boot-lab"
)

func (l *lair) dir() string    { return filepath.Join(runDir, l.name) }
func (l *lair) disks() string  { return filepath.Join(diskDir, l.name) }
func (l *lair) lock() string   { return filepath.Join(l.dir(), "lock") }
func (l *lair) socket() string { return filepath.Join(l.dir(), "socket") }
func (l *lair) log() string    { return filepath.Join(l.dir(), "log") }
func (l *lair) admin() string  { return filepath.Join(l.dir(), "kubeconfig") }

// labs returns the names of all labs that left anything.
func labs() ([]string, error) {
	entries, err := os.ReadDir(runDir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}
