package timeline

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// Kept is how many bring-ups are kept, the last ones.
	Kept = 5

	suffix = ".jsonl"
	// stamp makes names whose order is that of time.
	stamp = "20060102T150405.000Z"
	// fresh is how old the last line of a bring-up may be for it to go on.
	fresh = 2 * time.Minute
	// maxLine is how long a line may be that is read.
	maxLine = 64 << 10
	// maxSize is how much of a file is read.
	maxSize = 8 << 20
)

func name(at time.Time, by string) string { return at.UTC().Format(stamp) + "-" + by + suffix }

// List returns the paths of all bring-ups that are kept, the newest first.
func List(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		return nil, fmt.Errorf("list bring-ups: %w", err)
	}
	slices.Sort(paths)
	slices.Reverse(paths)
	return paths, nil
}

// Newest returns the path of the last bring-up, "" if there is none.
func Newest(dir string) string {
	paths, err := List(dir)
	if err != nil || len(paths) == 0 {
		return ""
	}
	return paths[0]
}

// prune makes room for one more bring-up.
func prune(dir string) error {
	paths, err := List(dir)
	if err != nil {
		return err
	}
	for i, path := range paths {
		if i < Kept-1 {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// goesOn says whether a process may add to a bring-up: the loop to one that is not
// closed, a command to its own that was killed.
func goesOn(path, by string) bool {
	fi, err := os.Stat(path)
	if err != nil || time.Since(fi.ModTime()) > fresh {
		return false
	}
	records, err := ReadFile(path)
	if err != nil {
		return false
	}
	for _, r := range records {
		if r.Kind == Closed {
			return false
		}
		if by != LoopName && r.Kind == Run && r.over() {
			return false
		}
	}
	return by == LoopName || strings.HasSuffix(path, "-"+by+suffix)
}

// LoopName is how the loop signs its records.
const LoopName = "loop"

// ReadFile reads the records of a bring-up, each once, in the order of their
// beginning. What is no record, as the half of a line that a power cut left, is
// passed over.
func ReadFile(path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read bring-up: %w", err)
	}
	defer func() { _ = f.Close() }()
	data := make([]byte, 0, 64<<10)
	scan := bufio.NewScanner(f)
	scan.Buffer(data, maxLine)
	var records []Record
	at := map[int64]int{}
	for size := 0; scan.Scan() && size < maxSize; size += len(scan.Bytes()) {
		r, ok := decode(scan.Bytes())
		if !ok {
			continue
		}
		if i, known := at[r.Seq]; known {
			records[i] = r
			continue
		}
		at[r.Seq] = len(records)
		records = append(records, r)
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("read bring-up %s: %w", path, err)
	}
	slices.SortStableFunc(records, func(a, b Record) int { return a.Start.Compare(b.Start) })
	return records, nil
}

func decode(line []byte) (r Record, ok bool) {
	if len(bytes.TrimSpace(line)) == 0 || json.Unmarshal(line, &r) != nil {
		return r, false
	}
	return r, r.Kind != "" && !r.Start.IsZero()
}
