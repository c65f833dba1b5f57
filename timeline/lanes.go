package timeline

import (
	"slices"
	"strings"
	"time"
)

// A mark is something in a lane: a bar, or, where it took no time, a point.
type mark struct {
	class, label, tip string
	start, end        time.Time // end is zero while it goes on
	record            *Record   // nil where it is of several
}

// ends is where the mark ends in a drawing that ends at to.
func (m mark) ends(to time.Time) time.Time {
	if m.end.IsZero() {
		return to
	}
	return m.end
}

// A lane is what came up, with its name.
type lane struct {
	name         string
	bars, points []mark
}

// maxPods is how many pods have a lane.
const maxPods = 40

// lanes are what is drawn, from top to bottom: why it took that long, what the
// command did, the node, the images, and then every pod in the order in which it was wanted.
func (b *BringUp) lanes() []lane {
	lanes := []lane{b.pathLane(), {name: "phases"}, {name: "node"}, {name: "images"}}
	pods := map[string]int{}
	for i := range b.Records {
		r := &b.Records[i]
		if r.Start.After(b.Ended) {
			continue
		}
		m := markOf(r)
		switch r.Kind {
		case Phase:
			lanes[1].bars = append(lanes[1].bars, m)
		case Import, Read:
			lanes[3].bars = append(lanes[3].bars, m)
		case Engine, Answer:
			lanes[2].bars = append(lanes[2].bars, m)
		case API, Node, CIDR, Network, NodeUp:
			if r.over() {
				lanes[2].points = append(lanes[2].points, m)
			}
		case Wanted, Sandbox, Image, Create, Start, Ready, PodUp, Mirror:
			at, known := pods[r.Pod]
			if !known && len(pods) == maxPods {
				continue
			}
			if !known {
				at = len(lanes)
				pods[r.Pod] = at
				lanes = append(lanes, lane{name: Short(r.Pod)})
			}
			lanes[at].add(r, m)
		}
	}
	return slices.DeleteFunc(lanes, func(l lane) bool { return len(l.bars)+len(l.points) == 0 })
}

func (l *lane) add(r *Record, m mark) {
	switch r.Kind {
	case Wanted:
		l.points = append(l.points, m)
	case PodUp, Mirror:
		if r.over() {
			m.start = m.end
			l.points = append(l.points, m)
		}
	default:
		l.bars = append(l.bars, m)
	}
}

// markOf is how a record looks.
func markOf(r *Record) mark {
	m := mark{class: string(r.Kind), tip: r.Words(), start: r.Start, end: r.End, record: r}
	switch r.Kind {
	case Phase:
		m.label, m.tip = r.Name, "phase "+r.Name
	case Engine:
		m.label = "container engine"
	case Answer:
		m.class, m.label = string(Engine), "first answer"
	case Read:
		m.class, m.label = string(Import), r.Words()
	case Import:
		m.label, _, _ = strings.Cut(lastPart(r.Name), ":")
	case Ready:
		m.label = "start → ready"
		if !strings.HasPrefix(bare(r.Pod)+"-", r.Container+"-") {
			m.label = r.Container
		}
	case Sandbox, Image, Create, Start:
		m.label = string(r.Kind)
	case API, Node, CIDR, Network, NodeUp:
		m.start = m.end
	}
	if r.Kind == NodeUp {
		m.class = "up"
	}
	if r.Err != "" {
		m.tip += "\nfailed: " + r.Err
		m.class += " failed"
	}
	return m
}

// pathLane tells the critical path.
func (b *BringUp) pathLane() lane {
	l := lane{name: "critical path"}
	for _, part := range b.lines() {
		l.bars = append(l.bars, mark{class: "path", label: part.words, tip: part.words, start: part.start, end: part.end})
	}
	return l
}

// pack puts marks into as few rows as there is room for, each in the first where
// the one before it is over.
func pack(marks []mark, to time.Time) [][]mark {
	sorted := slices.Clone(marks)
	slices.SortStableFunc(sorted, func(a, b mark) int { return a.start.Compare(b.start) })
	var rows [][]mark
	for _, m := range sorted {
		at := slices.IndexFunc(rows, func(row []mark) bool { return !row[len(row)-1].ends(to).After(m.start) })
		if at < 0 {
			at = len(rows)
			rows = append(rows, nil)
		}
		rows[at] = append(rows[at], m)
	}
	return rows
}
