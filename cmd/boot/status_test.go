package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"boot.internal/doctor"
	"boot.internal/status"
)

// Whoever watches hears of changes alone, one line each.
func TestWatchersHearOfChanges(t *testing.T) {
	for output, separator := range map[string]string{"json": "\n", "yaml": "---\n", "": "is wrong"} {
		t.Run("as "+output, func(t *testing.T) {
			var out bytes.Buffer
			ui := newUI(&out, &out)
			r := status.Report{Verdict: status.Degraded}
			w := newWatch(ui, output)
			for _, step := range []struct {
				now   int64
				wrong string
				told  int
			}{{1, "one", 1}, {2, "one", 1}, {3, "another", 2}} {
				r.Now, r.Wrong = time.Unix(step.now, 0), []string{step.wrong}
				if err := w.show(r); err != nil {
					t.Fatal(err)
				}
				if n := strings.Count(out.String(), separator); n != step.told {
					t.Errorf("%d are told of: %s", n, out.String())
				}
			}
			if output != "json" {
				return
			}
			for line := range strings.Lines(out.String()) {
				var got status.Report
				if err := json.Unmarshal([]byte(line), &got); err != nil || got.Verdict != status.Degraded {
					t.Errorf("%s: %v", line, err)
				}
			}
		})
	}
}

// Monitoring goes by the exit code.
func TestExitOfVerdict(t *testing.T) {
	if err := exitOfVerdict(status.OK); err != nil {
		t.Error(err)
	}
	for verdict, want := range map[status.Verdict]int{status.Degraded: 4, status.LoopDown: 5, status.NoNode: 6} {
		var coded exitCoder
		if err := exitOfVerdict(verdict); !errors.As(err, &coded) || coded.code != want || !errors.Is(err, errTold) {
			t.Errorf("%s: %v", verdict, err)
		}
	}
}

func TestFindingsInWords(t *testing.T) {
	var out bytes.Buffer
	newUI(&out, &out).findings([]doctor.Finding{
		{ID: "EngineDown", Severity: doctor.Critical, What: "no engine", Evidence: "refused", Do: "start it"}, {ID: "X", Severity: doctor.Note, What: "by the way"},
	})
	const want = "critical [EngineDown] no engine\n  because: refused\n  do:      start it\n\nnote [X] by the way\n"
	if out.String() != want {
		t.Errorf("got:\n%swant:\n%s", out.String(), want)
	}
}
