package timeline

import "time"

// An Object is a bring-up for scripts to read. Times are in seconds.
type Object struct {
	Command string    `json:"command"`
	Node    string    `json:"node,omitempty"`
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
	// Missing are goals that were not reached, in words.
	Missing []string     `json:"missing,omitempty"`
	Path    []ObjectStep `json:"criticalPath"`
	Records []Record     `json:"records"`
}

// An ObjectStep is a step of the critical path.
type ObjectStep struct {
	At      float64 `json:"at"` // since the beginning
	Seconds float64 `json:"seconds"`
	Share   float64 `json:"share"` // of the whole, 0 to 1
	What    string  `json:"what"`
	Kind    Kind    `json:"kind"` // of the record that was waited for
	Pod     string  `json:"pod,omitempty"`
	Idle    bool    `json:"idle,omitempty"` // nothing that is recorded kept the record from beginning
}

// Object returns the bring-up for scripts to read.
func (b *BringUp) Object() Object {
	o := Object{Command: b.Command, Node: b.Node, Began: b.Began, Seconds: b.Took().Seconds(), Records: b.Records, Path: []ObjectStep{}}
	for _, key := range b.Missing {
		o.Missing = append(o.Missing, b.missing(key))
	}
	for _, s := range b.Path {
		o.Path = append(o.Path, ObjectStep{
			At: s.Start.Sub(b.Began).Seconds(), Seconds: s.Took().Seconds(), Share: s.Took().Seconds() / b.Took().Seconds(),
			What: s.Words(), Kind: s.Record.Kind, Pod: s.Record.Pod, Idle: s.Idle,
		})
	}
	return o
}
