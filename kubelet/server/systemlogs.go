package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"time"
)

// handleSystemLogs adds the logs of the node, as files and, where that is on, by
// the names of services (KEP-2258).
func (s *Server) handleSystemLogs(mux *http.ServeMux) {
	c := s.o.Config
	if c.EnableSystemLogHandler != nil && !*c.EnableSystemLogHandler {
		mux.Handle("/logs/", disabled("logs endpoint is disabled."))
		return
	}
	files := http.StripPrefix("/logs/", http.FileServer(http.Dir(s.o.SystemLogs)))
	if c.EnableSystemLogQuery == nil || !*c.EnableSystemLogQuery {
		mux.Handle("GET /logs/", files)
		return
	}
	mux.HandleFunc("GET /logs/", func(w http.ResponseWriter, r *http.Request) {
		q, err := systemLogQuery(r.URL.Query())
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
		case q == nil:
			files.ServeHTTP(w, r)
		case r.URL.Path != "/logs/":
			http.Error(w, "path not allowed in query mode", http.StatusNotAcceptable)
		default:
			s.querySystemLogs(w, r, q)
		}
	})
}

func (s *Server) querySystemLogs(w http.ResponseWriter, r *http.Request, q *logQuery) {
	if err := q.check(); err != nil {
		http.Error(w, err.Error(), http.StatusNotAcceptable)
		return
	}
	if len(q.files) == 1 {
		f, err := os.OpenInRoot(s.o.SystemLogs, strings.TrimPrefix(filepath.ToSlash(q.files[0]), "/"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotAcceptable)
			return
		}
		defer f.Close() //nolint:errcheck // it was only read
		http.ServeContent(w, r, "", time.Time{}, f)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryWithin)
	defer cancel()
	w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	q.copy(ctx, w, s.o.SystemLogs)
}

// Limits of a query.
const (
	queryWithin  = 30 * time.Second
	mostServices = 4
	mostLines    = 100000
)

// A logQuery asks for the logs of services, or for one file.
type logQuery struct {
	services, files []string
	since, until    *time.Time
	lines, boot     *int
	pattern         string
}

// options reports whether anything is asked for beside the logs themselves.
func (q *logQuery) options() bool {
	return q.since != nil || q.until != nil || q.lines != nil || q.boot != nil || q.pattern != ""
}

// systemLogQuery reads a query; nil says that there is none.
func systemLogQuery(values map[string][]string) (*logQuery, error) {
	q := &logQuery{}
	get := func(name string) string {
		if v := values[name]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	for _, text := range values["query"] {
		switch {
		case strings.ContainsAny(text, `/\`):
			q.files = append(q.files, text)
		case strings.TrimSpace(text) != "":
			q.services = append(q.services, text)
		}
	}
	if _, asked := values["query"]; asked && len(q.files)+len(q.services) == 0 {
		return nil, fmt.Errorf("query: Invalid value: %q: may not be empty", values["query"])
	}
	for name, to := range map[string]**time.Time{"sinceTime": &q.since, "untilTime": &q.until} {
		if text := get(name); text != "" {
			t, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return nil, fmt.Errorf("%s: Invalid value: %q: invalid time format", name, text)
			}
			*to = &t
		}
	}
	for name, to := range map[string]**int{"tailLines": &q.lines, "boot": &q.boot} {
		if text := get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil {
				return nil, fmt.Errorf("%s: Invalid value: %q: %w", name, text, err)
			}
			*to = &n
		}
	}
	q.pattern = get("pattern")
	if len(q.files)+len(q.services) == 0 && !q.options() {
		return nil, nil
	}
	return q, nil
}

// serviceName is what a service may be called: it becomes an argument, and part
// of a path.
var serviceName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.:@-]*$`)

// check returns what is wrong with a query.
func (q *logQuery) check() error {
	for _, name := range q.services {
		if !serviceName.MatchString(name) || len(name) > 256 {
			return fmt.Errorf("query: Invalid value: %q: is no name of a service", name)
		}
	}
	_, badPattern := syntax.Parse(q.pattern, syntax.Perl)
	switch {
	case len(q.services) > mostServices:
		return fmt.Errorf("query: Too many: %d: must have at most %d items", len(q.services), mostServices)
	case len(q.services)+len(q.files) == 0:
		return errors.New("query: Required value: cannot be empty with options")
	case len(q.services) > 0 && len(q.files) > 0:
		return errors.New("query: Invalid value: cannot specify a file and service")
	case len(q.files) > 1:
		return errors.New("query: Invalid value: cannot specify more than one file")
	case len(q.files) == 1 && q.options():
		return errors.New("query: Invalid value: cannot specify file with options")
	case q.since != nil && q.until != nil && q.since.After(*q.until):
		return errors.New("untilTime: Invalid value: must be after `sinceTime`")
	case q.boot != nil && *q.boot > 0:
		return fmt.Errorf("boot: Invalid value: %d: must be less than 1", *q.boot)
	case q.lines != nil && (*q.lines < 0 || *q.lines > mostLines):
		return fmt.Errorf("tailLines: Invalid value: %d: must be between 0 and %d, inclusive", *q.lines, mostLines)
	case badPattern != nil:
		return fmt.Errorf("pattern: Invalid value: %q: %w", q.pattern, badPattern)
	}
	return nil
}

// copy writes the logs of services: from the journal if it has any, or from the
// files that are named after them.
func (q *logQuery) copy(ctx context.Context, w io.Writer, dir string) {
	for _, name := range q.services {
		switch {
		case inJournal(ctx, name):
			q.copyJournal(ctx, w, name)
		case q.options():
			_, _ = fmt.Fprintf(w, "\noptions present and query resolved to log files for %v\ntry without specifying options\n", []string{name})
		default:
			copyLogFile(w, dir, name)
		}
	}
}

func inJournal(ctx context.Context, name string) bool {
	out, err := exec.CommandContext(ctx, "journalctl", "--output=cat", "--lines=1", "--unit="+name).Output()
	return err == nil && len(out) > 0 && !strings.Contains(string(out), "-- No entries --")
}

func (q *logQuery) copyJournal(ctx context.Context, w io.Writer, name string) {
	args := []string{"--utc", "--no-pager", "--output=short-precise", "--unit=" + name}
	const layout = "2006-01-02 15:04:05"
	if q.since != nil {
		args = append(args, "--since="+q.since.UTC().Format(layout))
	}
	if q.until != nil {
		args = append(args, "--until="+q.until.UTC().Format(layout))
	}
	if q.lines != nil {
		args = append(args, "--lines="+strconv.Itoa(*q.lines))
	}
	if q.pattern != "" {
		args = append(args, "--grep="+q.pattern)
	}
	if q.boot != nil {
		args = append(args, "--boot="+strconv.Itoa(*q.boot))
	}
	cmd := exec.CommandContext(ctx, "journalctl", args...)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Run(); err != nil && ctx.Err() != nil {
		_, _ = fmt.Fprint(w, "\nerror: journal output not available\n") // who asked may have gone
	}
}

// copyLogFile copies NAME, NAME.log or NAME/NAME.log, whichever is there.
func copyLogFile(w io.Writer, dir, name string) {
	for _, file := range []string{name, name + ".log", filepath.Join(name, name+".log")} {
		f, err := os.OpenInRoot(dir, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			if fi, serr := f.Stat(); serr == nil && fi.IsDir() {
				_ = f.Close()
				continue
			}
			_, err = io.Copy(w, f)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			_, _ = fmt.Fprintf(w, "\nerror getting log for %s: %v\n", name, err)
		}
		return
	}
	_, _ = fmt.Fprintf(w, "\nlog not found for %s\n", name)
}
