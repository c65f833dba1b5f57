package timeline

import (
	_ "embed"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// The geometry of the drawing, in its own units, about a pixel each.
const (
	width   = 1200
	gutter  = 210 // names of the lanes
	margin  = 24
	header  = 72
	rowHigh = 22
	barHigh = 16
	laneGap = 6
	perChar = 6.1 // of the small type, on average
	maxTick = 12  // lines of the time axis, at most
)

//go:embed style.css
var style string

// A drawing is an SVG that grows downwards.
type drawing struct {
	b    *BringUp
	to   time.Time // end of the time axis
	body strings.Builder
	y    float64 // of the next row
	on   map[*Record]bool
}

// SVG writes the bring-up as a picture that needs nothing else, with one time axis
// and a lane for each thing that came up.
func (b *BringUp) SVG(w io.Writer) error {
	d := &drawing{b: b, to: b.Ended.Add(max(b.Took()/25, time.Millisecond)), y: header, on: map[*Record]bool{}}
	for _, s := range b.Path {
		d.on[s.Record] = true
	}
	for _, l := range b.lanes() {
		d.lane(l)
	}
	d.legend()
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" width="%d" height="%.0f" role="img">
<title>%s</title>
<style>%s</style>
<rect class="page" width="%d" height="%.0f"/>
<text class="title" x="%d" y="28">%s</text>
<text class="sub" x="%d" y="46">%s</text>
%s%s</svg>
`, width, d.y, width, d.y, escape(b.Title()), style, width, d.y,
		margin, escape(b.Title()+": "+seconds(b.Took())), margin, escape(b.Began.UTC().Format("2006-01-02 15:04:05 UTC")+b.lacks()),
		d.axis(), d.body.String())
	return err
}

// lacks names what was not reached.
func (b *BringUp) lacks() string {
	var texts []string
	for _, key := range b.Missing {
		texts = append(texts, b.missing(key))
	}
	if len(texts) == 0 {
		return ""
	}
	return "; " + strings.Join(texts, ", ")
}

// x is where a time is on the axis.
func (d *drawing) x(at time.Time) float64 {
	share := float64(at.Sub(d.b.Began)) / float64(d.to.Sub(d.b.Began))
	return gutter + min(max(share, 0), 1)*(width-gutter-margin)
}

// axis draws a line for every so many seconds, over the height of all lanes.
func (d *drawing) axis() string {
	var out strings.Builder
	whole := d.to.Sub(d.b.Began)
	step := tick(whole)
	for at := time.Duration(0); at <= whole; at += step {
		x := d.x(d.b.Began.Add(at))
		fmt.Fprintf(&out, `<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%.1f"/><text class="tick" x="%.1f" y="%d">%s</text>`+"\n",
			x, header-6, x, d.y-rowHigh-laneGap, x, header-10, escape(short(at)))
	}
	x := d.x(d.b.Ended)
	fmt.Fprintf(&out, `<line class="end" x1="%.1f" y1="%d" x2="%.1f" y2="%.1f"/>`+"\n", x, header-6, x, d.y-rowHigh-laneGap)
	return out.String()
}

// tick is the time between two lines of the axis: 1, 2 or 5 of something.
func tick(whole time.Duration) time.Duration {
	raw := float64(whole) / maxTick
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, f := range []float64{1, 2, 5} {
		if f*power >= raw {
			return max(time.Duration(f*power), 1)
		}
	}
	return time.Duration(10 * power)
}

func short(d time.Duration) string {
	text := fmt.Sprintf("%.3f", d.Seconds())
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".") + " s"
}

// lane draws the name of a lane and what is in it, in as many rows as it takes
// for nothing to lie on something else.
func (d *drawing) lane(l lane) {
	rows := pack(l.bars, d.to)
	fmt.Fprintf(&d.body, `<g class="lane"><text class="name" x="%d" y="%.1f">%s</text>`+"\n", gutter-10, d.y+12, escape(cut(l.name, gutter-margin)))
	for i, row := range rows {
		for _, m := range row {
			d.bar(m, d.y+float64(i*rowHigh))
		}
	}
	for _, m := range l.points {
		d.point(m, d.y)
	}
	d.y += float64(max(len(rows), 1)*rowHigh + laneGap)
	fmt.Fprintf(&d.body, `<line class="rule" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/></g>`+"\n", margin, d.y-laneGap/2, width-margin, d.y-laneGap/2)
}

// bar draws what took time.
func (d *drawing) bar(m mark, y float64) {
	x, end := d.x(m.start), d.x(m.ends(d.to))
	wide := max(end-x, 1)
	class := m.class
	if m.record != nil && d.on[m.record] {
		class += " on"
	}
	if m.end.IsZero() {
		class += " open"
	}
	fmt.Fprintf(&d.body, `<g><title>%s</title><rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%d" rx="2"/>`, escape(d.tip(m)), class, x, y, wide, barHigh)
	if text := cut(m.label, wide-6); text == m.label && text != "" {
		fmt.Fprintf(&d.body, `<text class="label" x="%.1f" y="%.1f">%s</text>`, x+4, y+12, escape(text))
	}
	d.body.WriteString("</g>\n")
}

// point draws what took no time.
func (d *drawing) point(m mark, y float64) {
	x, mid := d.x(m.end), y+barHigh/2
	fmt.Fprintf(&d.body, `<g><title>%s</title><path class="point %s" d="M%.1f %.1f l5 5 l-5 5 l-5 -5 z"/></g>`+"\n", escape(d.tip(m)), m.class, x, mid-5)
}

// tip is what is told of a mark under the mouse.
func (d *drawing) tip(m mark) string {
	text := m.tip
	if m.end.IsZero() {
		return fmt.Sprintf("%s\nsince %s, not over", text, seconds(m.start.Sub(d.b.Began)))
	}
	if m.start.Equal(m.end) {
		return fmt.Sprintf("%s\nat %s", text, seconds(m.end.Sub(d.b.Began)))
	}
	return fmt.Sprintf("%s\n%s (%s to %s)", text, seconds(m.end.Sub(m.start)), seconds(m.start.Sub(d.b.Began)), seconds(m.end.Sub(d.b.Began)))
}

// legend says what the colours mean.
func (d *drawing) legend() {
	x := float64(gutter)
	for _, k := range []struct{ class, text string }{
		{"phase", "phase"},
		{"import", "image import"},
		{"sandbox", "sandbox"},
		{"image", "wait for image"},
		{"create", "create"},
		{"start", "start"},
		{"ready", "start → ready"},
		{"phase on", "critical path"},
	} {
		fmt.Fprintf(&d.body, `<rect class="%s" x="%.1f" y="%.1f" width="12" height="12" rx="2"/><text class="key" x="%.1f" y="%.1f">%s</text>`+"\n",
			k.class, x, d.y+4, x+17, d.y+14, escape(k.text))
		x += 35 + perChar*float64(len([]rune(k.text)))
	}
	for _, k := range []struct{ class, text string }{{"up", "Ready"}, {"mirror", "mirror pod"}} {
		fmt.Fprintf(&d.body, `<path class="point %s" d="M%.1f %.1f l5 5 l-5 5 l-5 -5 z"/><text class="key" x="%.1f" y="%.1f">%s</text>`+"\n",
			k.class, x+6, d.y+5, x+17, d.y+14, escape(k.text))
		x += 35 + perChar*float64(len(k.text))
	}
	d.y += rowHigh + laneGap
}

// cut shortens a text to what fits.
func cut(text string, room float64) string {
	runes := []rune(text)
	fit := int(room / perChar)
	if len(runes) <= fit {
		return text
	}
	if fit < 2 {
		return ""
	}
	return string(runes[:fit-1]) + "…"
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a builder takes everything
	return b.String()
}
