package timeline

import (
	"bytes"
	"io"
	"os"
)

// A Tail follows what the loop writes, for those who want to show it. It is not
// safe for concurrent use.
type Tail struct {
	Dir    string
	path   string
	offset int64
	latest Record
}

// Latest returns the last that the loop has told of, or whether it has told of
// nothing yet.
func (t *Tail) Latest() (Record, bool) {
	if path := Newest(t.Dir); path != t.path {
		*t = Tail{Dir: t.Dir, path: path}
	}
	for _, line := range t.lines() {
		if r, ok := decode(line); ok && r.By == LoopName && r.Kind != API && r.Kind != Closed {
			t.latest = r
		}
	}
	return t.latest, t.latest.Kind != ""
}

// lines returns the whole lines that have come since the last call.
func (t *Tail) lines() [][]byte {
	f, err := os.Open(t.path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.NewSectionReader(f, t.offset, maxSize))
	end := bytes.LastIndexByte(data, '\n')
	if err != nil || end < 0 {
		return nil
	}
	t.offset += int64(end) + 1
	return bytes.Split(data[:end], []byte("\n"))
}
