package timeline

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Bounds of what one writer keeps: a bring-up that takes longer, or in which more
// happens, is cut off, and its file stays small.
const (
	// Longest is for how long a writer writes.
	Longest = 10 * time.Minute
	// MaxRecords is how many lines a writer writes at most.
	MaxRecords = 3000
	// Quiet is for how long nothing may happen, once all has settled, before a
	// writer takes the bring-up to be over.
	Quiet = 20 * time.Second
	// queued is how many records may wait for the disk. More are dropped: nobody
	// ever waits for this package.
	queued = 128
)

// Options say who writes and where.
type Options struct {
	Dir string // of all bring-ups: /var/lib/boot/timeline
	By  string // see Record
	// Lazy keeps everything in memory until Commit: who changes nothing leaves
	// no file.
	Lazy bool
	Log  *slog.Logger
}

// A Writer writes the records of one process. Its methods never block, may be
// called from any goroutine, and do nothing on a nil Writer or one that has
// ended.
type Writer struct {
	o       Options
	records chan Record
	commit  chan struct{} // closed when the file is to be written
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when the file is written
	over    atomic.Bool
	settled atomic.Bool
	seq     atomic.Int64
	wrote   atomic.Bool
	closed  atomic.Bool
}

// NewWriter begins to take records.
func NewWriter(o Options) *Writer {
	w := &Writer{o: o, records: make(chan Record, queued), commit: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{})}
	w.seq.Store(time.Now().UnixMicro()) // no two processes that write to one file have a number in common
	if !o.Lazy {
		w.Commit()
	}
	go w.run()
	return w
}

// Over says whether the writer takes nothing any more.
func (w *Writer) Over() bool { return w == nil || w.over.Load() }

// Settle says whether nothing is left to come that a bring-up is for.
func (w *Writer) Settle(yes bool) {
	if w != nil {
		w.settled.Store(yes)
	}
}

// Commit has everything so far, and all that comes, written to the disk.
func (w *Writer) Commit() {
	if w != nil && w.wrote.CompareAndSwap(false, true) {
		close(w.commit)
	}
}

// Begin notes that something begins, and returns it for End.
func (w *Writer) Begin(r Record) Record {
	if w == nil {
		return r
	}
	r.Seq = w.seq.Add(1)
	if r.Start.IsZero() {
		r.Start = time.Now()
	}
	w.put(r)
	return r
}

// End notes that what was begun is over, and how. A record that was not begun is
// noted as a whole; without a Start it took no time.
func (w *Writer) End(r Record, err error) {
	if w == nil {
		return
	}
	if r.Seq == 0 {
		r.Seq = w.seq.Add(1)
	}
	r.End = time.Now()
	if r.Start.IsZero() {
		r.Start = r.End
	}
	if err != nil {
		r.Err = clip(err.Error())
	}
	w.put(r)
}

// Note notes something that is over, with both its times.
func (w *Writer) Note(r Record) {
	if w != nil {
		r.Seq = w.seq.Add(1)
		w.put(r)
	}
}

// clip keeps an error to a line or two.
func clip(text string) string {
	const most = 300
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

func (w *Writer) put(r Record) {
	if w.over.Load() {
		return
	}
	r.By = w.o.By
	r.Start, r.End = r.Start.Round(0), r.End.Round(0) // the clock on the wall: others have another
	select {
	case w.records <- r:
	default: // a gap in a drawing is better than a pod that waits
	}
}

// Close writes what there still is and ends the writer.
func (w *Writer) Close() {
	if w == nil || !w.closed.CompareAndSwap(false, true) {
		return
	}
	w.over.Store(true)
	close(w.stop)
	<-w.done
}

// run takes records to the disk until the bring-up is over.
func (w *Writer) run() {
	defer close(w.done)
	defer w.over.Store(true)
	f := &file{dir: w.o.Dir, by: w.o.By}
	held, ok := w.hold()
	if !ok {
		return
	}
	w.write(f, held)
	end, quiet := time.NewTimer(Longest), time.NewTimer(Quiet)
	defer end.Stop()
	defer quiet.Stop()
	for f.lines < MaxRecords {
		select {
		case r := <-w.records:
			w.write(f, append([]Record{r}, w.rest()...))
			quiet.Reset(Quiet)
			continue
		case <-quiet.C:
			if !w.settled.Load() {
				quiet.Reset(Quiet)
				continue
			}
		case <-end.C:
		case <-w.stop:
			w.write(f, w.rest())
			return // the next process goes on
		}
		break
	}
	w.over.Store(true)
	now := time.Now()
	w.write(f, append(w.rest(), Record{Seq: w.seq.Add(1), By: w.o.By, Kind: Closed, Start: now, End: now}))
}

// hold keeps records until they are to be written, if ever.
func (w *Writer) hold() (held []Record, ok bool) {
	for {
		select {
		case <-w.commit:
			return append(held, w.rest()...), true
		case r := <-w.records:
			if len(held) < MaxRecords {
				held = append(held, r)
			}
		case <-w.stop:
			select {
			case <-w.commit:
				return append(held, w.rest()...), true
			default:
				return nil, false
			}
		}
	}
}

// rest returns what is queued.
func (w *Writer) rest() (all []Record) {
	for {
		select {
		case r := <-w.records:
			all = append(all, r)
		default:
			return all
		}
	}
}

// write appends records. That they cannot be written concerns nobody but those
// who want to look at them.
func (w *Writer) write(f *file, records []Record) {
	if err := f.append(records); err != nil {
		w.o.Log.LogAttrs(context.Background(), slog.LevelDebug, "write timeline", slog.Any("err", err))
	}
}

// A file is the end of the newest bring-up, to which this process adds lines. Each
// is one write: those of two processes do not mix.
type file struct {
	dir, by string
	path    string
	lines   int
}

func (f *file) append(records []Record) error {
	if len(records) == 0 {
		return nil
	}
	if err := f.choose(); err != nil {
		return err
	}
	out, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	for _, r := range records {
		line, err := json.Marshal(r)
		if err == nil {
			_, err = out.Write(append(line, '\n'))
		}
		if err != nil {
			_ = out.Close()
			return err
		}
		f.lines++
	}
	return out.Close()
}

// choose finds the bring-up to write to: the newest there is, if it is not over,
// or another one. A command that was begun meanwhile has begun another one.
func (f *file) choose() error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	newest := Newest(f.dir)
	if f.path != "" || newest != "" && goesOn(newest, f.by) {
		f.path = max(f.path, newest)
		return nil
	}
	f.path = filepath.Join(f.dir, name(time.Now(), f.by))
	return prune(f.dir)
}
