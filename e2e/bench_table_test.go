package e2e

import (
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"boot.internal/e2e/internal/lab"
)

// A table collects what was measured, a row for each thing, in the order in
// which they were first seen.
type table struct {
	rows []*row
}

// A row is one thing, measured several times with boot and without.
type row struct {
	what       string
	budget     string
	boot, bare []float64
	unit       unit
}

// A unit tells how a number is written.
type unit int

const (
	_ unit = iota
	seconds
	mebibytes
	millicores
)

func (u unit) format(v float64) string {
	switch u {
	case mebibytes:
		return fmt.Sprintf("%.1f MiB", v)
	case millicores:
		return fmt.Sprintf("%.1f m", v)
	default:
		return time.Duration(v * float64(time.Second)).Round(100 * time.Microsecond).String()
	}
}

// row returns the row of a thing.
func (t *table) row(what string, u unit, budget string) *row {
	for _, r := range t.rows {
		if r.what == what {
			return r
		}
	}
	r := &row{what: what, unit: u, budget: budget}
	t.rows = append(t.rows, r)
	return r
}

// took adds how long it took with boot, and without if that is to compare.
func (r *row) took(boot, bare time.Duration) {
	r.boot = append(r.boot, boot.Seconds())
	if bare > 0 {
		r.bare = append(r.bare, bare.Seconds())
	}
}

// print writes the table as Markdown.
func (t *table) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	_, _ = fmt.Fprintln(tw, "\n| what\t| boot\t| (median)\t| bare\t| (median)\t| ratio\t| budget\t|")
	_, _ = fmt.Fprintln(tw, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, r := range t.rows {
		boot, bootMedian := r.best(r.boot)
		bare, bareMedian := r.best(r.bare)
		ratio := ""
		if len(r.boot) > 0 && len(r.bare) > 0 {
			ratio = fmt.Sprintf("%.2f", slices.Min(r.boot)/slices.Min(r.bare))
		}
		_, _ = fmt.Fprintf(tw, "| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t|\n", r.what, boot, bootMedian, bare, bareMedian, ratio, r.budget)
	}
	_ = tw.Flush()
}

// best writes the best of what was measured, and the median: nothing if this run has
// left it out.
func (r *row) best(of []float64) (best, middle string) {
	if len(of) == 0 {
		return "", ""
	}
	return r.unit.format(slices.Min(of)), r.unit.format(median(of))
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// size adds the size of the binary.
func (t *table) size(b *testing.B) {
	fi, err := os.Stat(lab.BootBinary(b))
	if err != nil {
		b.Fatal(err)
	}
	r := t.row("size of the binary, engine included", mebibytes, "< 95.4 MiB (100 MB)")
	r.boot = append(r.boot, float64(fi.Size())/(1<<20))
}
