package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"boot.internal/kubelet/local"
)

// A Paint gives a text a colour. It is told a tone and returns the text as it is
// to be printed.
type Paint func(tone Tone, text string) string

// A Tone is what a text means.
type Tone int

// The tones.
const (
	_ Tone = iota
	Good
	Bad
	Doubtful
	Heading
)

// Screen draws a report, in lines of at most width columns.
func Screen(r Report, width int, paint Paint) string {
	s := &screen{r: r, width: width, paint: paint}
	if r.Verdict == NoNode {
		s.line(r.Wrong[0])
		s.line("make it one with 'boot init', or have it join a cluster with 'boot join'")
		return s.b.String()
	}
	s.node()
	s.parts()
	s.etcd()
	s.pods()
	s.manifests()
	s.certificates()
	s.end()
	return s.b.String()
}

type screen struct {
	b     strings.Builder
	r     Report
	width int
	paint Paint
}

// line writes a line, cut to the width. Only its end may be lost: colours are in
// what comes before.
func (s *screen) line(text string) {
	s.b.WriteString(cut(text, s.width))
	s.b.WriteByte('\n')
}

// cut shortens a text to a number of columns.
func cut(text string, width int) string {
	runes := []rune(strings.ReplaceAll(text, "\n", " "))
	if len(runes) <= width {
		return string(runes)
	}
	return string(runes[:width-1]) + "…"
}

// field writes "  name   value", wrapped below the value.
func (s *screen) field(name string, tone Tone, value string) {
	const indent = 13
	for i, part := range wrap(value, s.width-indent) {
		if i > 0 {
			name = ""
		}
		if tone != 0 {
			part = s.paint(tone, part)
		}
		fmt.Fprintf(&s.b, "  %-*s%s\n", indent-2, name, part)
	}
}

// below writes text that explains the line above, wrapped.
func (s *screen) below(text string, tone Tone) {
	const indent = 4
	for _, part := range wrap(text, s.width-indent) {
		fmt.Fprintf(&s.b, "%*s%s\n", indent, "", s.paint(tone, part))
	}
}

// wrap breaks a text into lines of at most width columns, three at the most.
func wrap(text string, width int) []string {
	const most = 3
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) <= width:
			line += " " + word
		default:
			lines, line = append(lines, cut(line, width)), word
		}
	}
	lines = append(lines, cut(line, width))
	if len(lines) > most {
		lines = append(lines[:most-1], cut(lines[most-1]+" …", width))
	}
	return lines
}

// node is the headline.
func (s *screen) node() {
	n := s.r.Node
	tone, words := Bad, "not Ready"
	switch {
	case !s.r.Loop.Running:
		words = "unknown"
	case n.Ready == "True":
		tone, words = Good, "Ready"
	}
	roles := strings.Join(n.Roles, ", ")
	if roles == "" && n.Registered {
		roles = "worker"
	}
	head := []string{s.paint(Heading, n.Name), s.paint(tone, words), roles, n.Kubernetes}
	s.b.WriteString(strings.Join(slices.DeleteFunc(head, func(text string) bool { return text == "" }), "  ") + "\n")
	for _, c := range n.Conditions {
		if (c.Type == "Ready") != (c.Status == "True") {
			s.field("", Bad, c.Type+" is "+c.Status+": "+c.Message)
		}
	}
}

// parts are what the node consists of.
func (s *screen) parts() {
	l := s.r.Loop
	if l.Running {
		s.field("loop", 0, fmt.Sprintf("boot %s, up %s, pid %d, %s", l.Boot, s.age(l.Since), l.PID, l.Kind))
	} else {
		s.field("loop", Bad, l.Error+"; its log: "+l.Log)
	}
	e := s.r.Engine
	name := strings.Replace(e.Version, "://", " ", 1)
	switch {
	case !e.Healthy:
		s.field("engine", Bad, strings.TrimSpace(name+" does not answer at "+e.Socket)+": "+e.Error)
	case s.r.Loop.Running && !e.Network:
		s.field("engine", Doubtful, name+" at "+e.Socket+"; pod network is not ready")
	default:
		s.field("engine", 0, name+" at "+e.Socket)
	}
	s.api()
	s.rotation()
}

func (s *screen) api() {
	if s.r.API == nil {
		s.field("API", 0, "this node has no cluster")
		return
	}
	for _, w := range s.r.API.Ways {
		if w.OK {
			s.field("API", 0, w.Server+s.behind())
			if s.r.Loop.Running && !s.r.Node.Registered {
				s.field("", Bad, "this node is not registered there")
			}
			return
		}
	}
	for _, w := range s.r.API.Ways {
		s.field("API", Bad, w.Server+": "+w.Error)
	}
	for _, server := range s.r.Loop.APIServers {
		if server.Health == "ready" {
			continue
		}
		s.field("", Bad, server.Address+" is "+server.Health+": "+server.Reason)
	}
}

// behind tells what is behind the balancer.
func (s *screen) behind() string {
	var ready, used int
	servers := s.r.Loop.APIServers
	for i, server := range servers {
		if server.Health == "ready" {
			ready++
		}
		if server.InUse {
			used = i + 1
		}
	}
	if used == 0 {
		return ""
	}
	return fmt.Sprintf(" → %s, %d of %d ready", servers[used-1].Address, ready, len(servers))
}

// rotation is the node's part in one of authorities, while there is one.
func (s *screen) rotation() {
	r := s.r.Loop.Rotation
	switch {
	case r == nil:
	case r.Trouble != "":
		s.field("rotation", Bad, "of authorities; this node does not get to the stage "+r.Trouble)
	case r.Reached:
		s.field("rotation", 0, "of authorities; this node has got to the stage "+r.Stage)
	default:
		s.field("rotation", Doubtful, "of authorities; this node is on its way to the stage "+r.Stage)
	}
}

func (s *screen) etcd() {
	e := s.r.Etcd
	if e == nil {
		return
	}
	well, leader := 0, ""
	for _, m := range e.Members {
		if m.Healthy {
			well++
		}
		if m.Role == "leader" {
			leader = ", leader " + m.Name
		}
	}
	if !e.Quorum {
		s.field("etcd", Bad, "no quorum: "+e.Error)
	} else {
		s.field("etcd", 0, fmt.Sprintf("%d of %d members healthy%s", well, len(e.Members), leader))
	}
	for _, m := range e.Members {
		if !m.Healthy {
			s.field("", Bad, m.Name+": "+m.Error)
		}
	}
}

func (s *screen) pods() {
	if len(s.r.StaticPods) > 0 {
		s.line("")
		s.row(Heading, "STATIC POD", "STATE", "RESTARTS", "SINCE")
	}
	for _, p := range s.r.StaticPods {
		s.pod(p, strings.TrimSuffix(p.Name, "-"+strings.ToLower(s.r.Node.Name)))
	}
	if s.r.OtherPods.Total == 0 {
		return
	}
	s.line("")
	s.row(Heading, fmt.Sprintf("OTHER PODS  %d of %d well", s.r.OtherPods.Total-len(s.r.OtherPods.Unwell), s.r.OtherPods.Total), "", "", "")
	for _, p := range s.r.OtherPods.Unwell {
		s.pod(p, p.Key())
	}
}

func (s *screen) pod(p local.Pod, name string) {
	if p.Static && p.Namespace != "kube-system" {
		name = p.Namespace + "/" + name
	}
	tone := Good
	switch {
	case !p.State.Well():
		tone = Bad
	case p.State != local.Running:
		tone = Doubtful
	}
	s.row(tone, name, string(p.State), fmt.Sprint(p.Restarts), s.age(p.Since))
	if f := p.Failure; f != nil && (p.State != local.Running || p.Restarts > 0) {
		text := f.Text
		if !f.At.IsZero() {
			text = s.age(f.At) + " ago: " + text
		}
		if p.State == local.Running {
			text = "last failure " + text
		}
		s.below(text, Doubtful)
	}
}

// row writes a row of a table of pods; the tone is that of the state, or of the
// whole row if it has none.
func (s *screen) row(tone Tone, name, state, restarts, since string) {
	wide := max(s.width-34, 20)
	text := fmt.Sprintf("%-*s", wide, cut(name, wide))
	if tone == Heading {
		s.b.WriteString(strings.TrimRight(s.paint(tone, strings.TrimRight(fmt.Sprintf("%s  %-10s %8s  %8s", text, state, restarts, since), " ")), " ") + "\n")
		return
	}
	fmt.Fprintf(&s.b, "%s  %s %8s  %8s\n", text, s.paint(tone, fmt.Sprintf("%-10s", state)), restarts, since)
}

func (s *screen) manifests() {
	bad := slices.DeleteFunc(slices.Clone(s.r.Manifests), func(p local.Problem) bool { return !Refusal(p) })
	if len(bad) == 0 {
		return
	}
	s.line("")
	s.b.WriteString(s.paint(Heading, "MANIFESTS") + "\n")
	for i, p := range bad {
		if i == 0 || Place(bad[i-1]) != Place(p) {
			s.line(Place(p) + " is " + fate(p))
		}
		s.below(p.Message, Bad)
		if p.Hint != "" {
			s.below(p.Hint, Doubtful)
		}
		if !p.Kept.IsZero() && (i == len(bad)-1 || bad[i+1].Path != p.Path) {
			s.below("its last good version goes on, since "+s.age(p.Kept), Doubtful)
		}
	}
}

// certificates shows the next to end. An authority is only worth a word when there
// is trouble with it.
func (s *screen) certificates() {
	const most = 3
	shown := 0
	for _, c := range s.r.Certificates {
		if shown == most || c.Authority && c.Trouble == "" && !c.Ended(s.r.Now) {
			continue
		}
		if shown == 0 {
			s.line("")
			s.b.WriteString(s.paint(Heading, "CERTIFICATES, THE NEXT TO END") + "\n")
		}
		shown++
		tone, words := Good, "in "+Short(c.NotAfter.Sub(s.r.Now))
		switch {
		case c.Ended(s.r.Now):
			tone, words = Bad, "ended "+s.age(c.NotAfter)+" ago"
		case c.NotAfter.IsZero():
			tone, words = Bad, c.Trouble
		case c.Trouble != "":
			tone, words = Doubtful, words+": "+c.Trouble
		}
		fmt.Fprintf(&s.b, "%-30s %s\n", cut(c.Name, 30), s.paint(tone, cut(words, s.width-31)))
	}
}

// end sums up.
func (s *screen) end() {
	s.line("")
	switch len(s.r.Wrong) {
	case 0:
		s.b.WriteString(s.paint(Good, "all is well") + "\n")
	case 1:
		s.b.WriteString(s.paint(Bad, "one thing is wrong") + "; 'boot doctor' says what to do\n")
	default:
		s.b.WriteString(s.paint(Bad, fmt.Sprintf("%d things are wrong", len(s.r.Wrong))) + "; 'boot doctor' says what to do\n")
	}
	for _, u := range s.r.Unseen {
		s.line("not seen: " + u)
	}
}

func (s *screen) age(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return Short(s.r.Now.Sub(t))
}
