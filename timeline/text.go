package timeline

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Below the first share of the whole phases are told together, and what is below
// the second is told as a part of what came next.
const (
	small = 0.02
	tiny  = 0.003
)

// A line is a part of the critical path as it is told: one step, or several that
// only matter together.
type line struct {
	words      string
	group      string // the phase that it is of; "" for none
	groups     int    // how many phases it holds
	start, end time.Time
}

func (l line) took() time.Duration { return l.end.Sub(l.start) }

// Text writes how long the bring-up took and why.
func (b *BringUp) Text(w io.Writer) error {
	var t strings.Builder
	end := "until all was ready"
	if len(b.Missing) > 0 {
		end = "until the last that is known, and not all is ready"
	}
	fmt.Fprintf(&t, "%s, %s: %s %s.\n", b.Title(), b.Began.UTC().Format("2006-01-02 15:04:05 UTC"), seconds(b.Took()), end)
	for _, key := range b.Missing {
		fmt.Fprintf(&t, "Not reached: %s\n", b.missing(key))
	}
	t.WriteString("\nWhy it took that long, step by step (critical path):\n\n")
	table := tabwriter.NewWriter(&t, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "at\ttook\tshare\t  what was waited for")
	for _, l := range b.lines() {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t  %s\n", seconds(l.start.Sub(b.Began)), seconds(l.took()), b.share(l.took()), l.words)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	t.WriteString("\nWhen what was ready:\n\n")
	b.milestones(&t)
	_, err := io.WriteString(w, t.String())
	return err
}

// Title names the bring-up.
func (b *BringUp) Title() string {
	title := "boot " + b.Command
	if b.Command == LoopName {
		title = "start of the node agent"
	}
	if b.Node != "" {
		title += " on " + b.Node
	}
	return title
}

func (b *BringUp) share(d time.Duration) string {
	if b.Took() <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*float64(d)/float64(b.Took()))
}

// missing says which goal a key stands for.
func (b *BringUp) missing(key string) string {
	kind, pod, _ := strings.Cut(key, ":")
	switch Kind(kind) {
	case PodUp:
		return Short(pod) + " is not Ready"
	case Mirror:
		return Short(pod) + " has no mirror pod"
	case NodeUp:
		return "the node is not Ready"
	}
	return "boot " + pod + " has not ended well"
}

// lines tells the path: phases of which none took long are told together.
func (b *BringUp) lines() []line {
	var lines []line
	for _, s := range b.Path {
		l := line{words: s.Words(), start: s.Start, end: s.End}
		if s.Record.Kind == Look || s.Record.Kind == Change {
			l.group, l.groups = phaseOf(s.Record), 1
		}
		if n := len(lines); n > 0 && l.group != "" && lines[n-1].group == l.group {
			lines[n-1].join(l)
			continue
		}
		lines = append(lines, l)
	}
	return b.rounded(b.gathered(lines))
}

// rounded leaves out what took next to nothing, and gives its time to its
// neighbour, so that all still adds up.
func (b *BringUp) rounded(lines []line) []line {
	var all []line
	from := b.Began
	for i, l := range lines {
		l.start = from
		switch n := len(all); {
		case float64(l.took()) >= tiny*float64(b.Took()):
			all, from = append(all, l), l.end
		case i == len(lines)-1 && n > 0:
			all[n-1].end = l.end
		case i == len(lines)-1:
			all = append(all, l)
		}
	}
	return all
}

// phaseOf is the phase that a record of a command is of.
func phaseOf(r *Record) string {
	if r.Kind == Look {
		return r.Name
	}
	return r.Phase
}

// join adds a step of the same phase, which the words of the longer stand for.
func (l *line) join(next line) {
	if next.took() > l.took() {
		l.words = next.words
	}
	l.end = next.end
}

// gathered puts neighbours together that took next to nothing each.
func (b *BringUp) gathered(lines []line) []line {
	var all []line
	for _, l := range lines {
		n := len(all)
		if n > 0 && b.minor(l) && b.minor(all[n-1]) {
			first, _, _ := strings.Cut(all[n-1].group, " … ")
			all[n-1].groups++
			all[n-1].group = first + " … " + l.group
			all[n-1].words = fmt.Sprintf("%s (%d phases)", all[n-1].group, all[n-1].groups)
			all[n-1].end = l.end
			continue
		}
		all = append(all, l)
	}
	return all
}

// minor says whether a line is of phases alone that took next to nothing, each.
func (b *BringUp) minor(l line) bool {
	return l.groups > 0 && float64(l.took())/float64(l.groups) < small*float64(b.Took())
}

// milestones writes when each thing was ready that a cluster is made of.
func (b *BringUp) milestones(w io.Writer) {
	first := map[string]bool{}
	var ends []*Record
	for i := range b.Records {
		r := &b.Records[i]
		if slices.Contains([]Kind{Answer, Import, PodUp, Node, NodeUp, Run}, r.Kind) && r.over() && r.Err == "" && !first[r.Key()] {
			first[r.Key()] = true
			ends = append(ends, r)
		}
	}
	slices.SortStableFunc(ends, func(a, b *Record) int { return a.End.Compare(b.End) })
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, r := range ends {
		_, _ = fmt.Fprintf(table, "%s\t  %s\n", seconds(r.End.Sub(b.Began)), r.Words())
	}
	_ = table.Flush() // a builder takes everything
}
