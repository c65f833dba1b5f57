package status

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"boot.internal/kubelet/local"
	"boot.internal/logfile"
)

// addLastWords adds to the failure of a pod that has ended badly what its container
// logged last: it usually says why.
func addLastWords(p *local.Pod) {
	if p.State != local.Crashing && p.State != local.Failed || p.Failure == nil {
		return
	}
	i := slices.IndexFunc(p.Containers, func(c local.Container) bool { return c.Name == p.Failure.Container })
	if i < 0 || p.Containers[i].LogDir == "" {
		return
	}
	if words := LastWords(p.Containers[i].LogDir, 1); len(words) > 0 {
		f := *p.Failure
		f.Text += ": " + words[0]
		p.Failure = &f
	}
}

// LastWords returns at most n last lines that the newest instance of a container
// with something to say has logged.
func LastWords(logDir string, n int) []string {
	entries, err := os.ReadDir(logDir)
	if err != nil {
		return nil
	}
	var attempts []int
	for _, e := range entries {
		if attempt, err := strconv.Atoi(strings.TrimSuffix(e.Name(), ".log")); err == nil {
			attempts = append(attempts, attempt)
		}
	}
	slices.Sort(attempts)
	for _, attempt := range slices.Backward(attempts) {
		lines := logfile.Tail(filepath.Join(logDir, strconv.Itoa(attempt)+".log"), 0, n)
		for i := range lines {
			lines[i] = logfile.WithoutPrefix(lines[i])
		}
		if len(lines) > 0 {
			return lines
		}
	}
	return nil
}
