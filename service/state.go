package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"boot.internal/atomicfile"
	"boot.internal/process"
)

// A State is what the supervisor says about the loop, in RunDir/kubelet.json.
type State struct {
	Supervisor process.ID `json:"supervisor"`
	Loop       process.ID `json:"loop"` // the last one started
	Args       []string   `json:"args"` // of the loop
	Ready      bool       `json:"ready"`
	Exits      int        `json:"exits"`          // how often the loop has ended
	Last       string     `json:"last,omitempty"` // how it ended last
}

func statePath(runDir string) string { return filepath.Join(runDir, "kubelet.json") }

// ReadState returns what the supervisor said last, the zero State if there is
// none. Its processes may have ended since.
func ReadState(runDir string) (State, error) {
	data, err := os.ReadFile(statePath(runDir))
	if errors.Is(err, os.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("read the state of the loop: %w", err)
	}
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return State{}, fmt.Errorf("read the state of the loop: %s: %w", statePath(runDir), err)
	}
	return s, nil
}

func (s State) write(runDir string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("note the state of the loop: %w", err)
	}
	return atomicfile.Write(statePath(runDir), append(data, '\n'), 0o644)
}

// works reports whether loop and supervisor run what Options ask for. After an
// upgrade they still run the program that was replaced.
func (s State) works(o Options) bool {
	return s.Ready && s.Supervisor.Alive() && s.Loop.Alive() &&
		slices.Equal(s.Args, o.Args) && sameProgram(s.Loop.PID, o.Executable) && sameProgram(s.Supervisor.PID, o.Executable)
}

// sameProgram compares the file that the process executes with the one that
// has the name now.
func sameProgram(pid int, exe string) bool {
	runs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return false
	}
	now, err := os.Stat(exe)
	return err == nil && os.SameFile(runs, now)
}
