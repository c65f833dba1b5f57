package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Bounds of the work for one document: aliases of aliases can make a small
// file large, and an alias of what it is part of makes it endless.
const (
	maxNodes = 20_000
	maxPath  = 1024
)

// maxFindings bounds how much is said about one document.
const maxFindings = 50

// positions says where in the file a setting was written, by kind and path.
type positions map[string]position

// A position is one place in a file.
type position struct {
	file              string // empty for the one that the validator is told of
	doc, line, column int
	// blank says that what was written there is what a field has anyway.
	blank bool
}

// of returns where a setting, or else the object it is missing from, was
// written.
func (p positions) of(kind, path string) position {
	for {
		if at, ok := p[kind+" "+path]; ok || path == "" {
			return at
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
}

// A strict decoder checks one document against a Go type, and only then fills
// a value of it: fields must be known, given once and of the right type.
// encoding/json would tell neither lines nor more than the first mistake.
type strict struct {
	kind     string
	doc      int
	at       positions
	budget   int
	findings []Finding
}

// decode fills into, a pointer to a struct, from n. It returns what was written
// in the form encoding/json uses.
func (s *strict) decode(n *yaml.Node, into any) any {
	v := s.value(n, reflect.TypeOf(into).Elem(), "")
	if s.budget < 0 { // then what else was found is an effect of that
		s.findings = nil
		s.report(n, "", "the document is too large once its aliases are expanded", "")
	}
	if len(s.findings) > 0 {
		return nil
	}
	raw, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		s.report(n, "", err.Error(), "")
	}
	return v
}

// value returns what n stands for in the form encoding/json uses, after
// checking that it fits t.
func (s *strict) value(n *yaml.Node, t reflect.Type, path string) any {
	if !s.afford(path) {
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return s.value(n.Alias, t, path)
	}
	top := !strings.ContainsAny(path, ".[")
	s.at[s.kind+" "+path] = position{doc: s.doc, line: n.Line, column: n.Column, blank: top && isBlank(n)}
	if isNull(n) {
		return nil
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if decodesItself(t) {
		return s.custom(n, t, path)
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return s.object(n, t, path)
	case reflect.Slice:
		return s.list(n, t, path)
	case reflect.Interface:
		return s.untyped(n, path)
	default:
		return s.scalar(n, t, path)
	}
}

// afford takes one node from the budget, and all that is left of it for a path
// that no type has.
func (s *strict) afford(path string) bool {
	s.budget--
	if len(path) > maxPath {
		s.budget = -1
	}
	return s.budget >= 0
}

// decodesItself tells whether only the type knows what it can be decoded from.
func decodesItself(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}

// custom checks n by decoding it the way its type wants.
func (s *strict) custom(n *yaml.Node, t reflect.Type, path string) any {
	v := s.untyped(n, path)
	raw, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(raw, reflect.New(t).Interface())
	}
	if err != nil {
		message, hint := customProblem(t, err)
		s.report(n, path, message, hint)
	}
	return v
}

// customProblem words the errors of types whose own are about Go.
func customProblem(t reflect.Type, err error) (message, hint string) {
	switch t {
	case reflect.TypeFor[metav1.Duration]():
		return "not a duration", `write it as "24h0m0s"`
	case reflect.TypeFor[metav1.Time]():
		return "not a time", `write it as "2026-01-31T12:00:00Z"`
	}
	return err.Error(), ""
}

// object checks a mapping against a struct or a map.
func (s *strict) object(n *yaml.Node, t reflect.Type, path string) any {
	if n.Kind != yaml.MappingNode {
		return s.mismatch(n, path, "an object")
	}
	var known map[string]reflect.Type
	if t.Kind() == reflect.Struct {
		known = fieldsOf(t)
	}
	out := map[string]any{}
	for _, e := range s.entries(n, path) {
		at := join(path, e.key.Value)
		elem, ok := known[e.key.Value]
		if t.Kind() == reflect.Map {
			elem, ok = t.Elem(), true
		}
		if !ok {
			s.unknown(e.key, at, known)
			continue
		}
		out[e.key.Value] = s.value(e.value, elem, at)
	}
	return out
}

// unknown reports a field there is not. Hints are dear, and there may be no
// room for more.
func (s *strict) unknown(key *yaml.Node, path string, known map[string]reflect.Type) {
	if len(s.findings) < maxFindings {
		s.report(key, path, "unknown field", unknownHint(s.kind, key.Value, known))
	}
}

type entry struct{ key, value *yaml.Node }

// entries returns the keys of a mapping, each once, with merge keys ("<<")
// expanded: what is written in the mapping itself wins.
func (s *strict) entries(n *yaml.Node, path string) []entry {
	var own, merged []entry
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !s.afford(path) {
			return nil
		}
		switch {
		case key.ShortTag() == "!!merge":
			merged = append(merged, s.merge(value, path)...)
		case key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str":
			s.report(key, path, "a key that is not a string", "")
		case seen[key.Value]:
			s.report(key, join(path, key.Value), "given twice", "")
		default:
			seen[key.Value] = true
			own = append(own, entry{key, value})
		}
	}
	for _, e := range merged {
		if !seen[e.key.Value] {
			seen[e.key.Value] = true
			own = append(own, e)
		}
	}
	return own
}

// merge returns the entries that a merge key brings in.
func (s *strict) merge(n *yaml.Node, path string) []entry {
	if !s.afford(path) {
		return nil
	}
	switch n.Kind {
	case yaml.AliasNode:
		return s.merge(n.Alias, path)
	case yaml.MappingNode:
		return s.entries(n, path)
	case yaml.SequenceNode:
		var all []entry
		for _, c := range n.Content {
			all = append(all, s.merge(c, path)...)
		}
		return all
	}
	s.mismatch(n, join(path, "<<"), "an object")
	return nil
}

func (s *strict) list(n *yaml.Node, t reflect.Type, path string) any {
	if n.Kind != yaml.SequenceNode {
		return s.mismatch(n, path, listName(t))
	}
	out := make([]any, 0, len(n.Content))
	for i, c := range n.Content {
		out = append(out, s.value(c, t.Elem(), path+"["+strconv.Itoa(i)+"]"))
	}
	return out
}

// listName names a list in a way that says what goes into it.
func listName(t reflect.Type) string {
	if t.Elem() == reflect.TypeFor[Arg]() {
		return "a list of objects with name and value"
	}
	return "a list"
}

// untyped returns what n stands for without a type to go by.
func (s *strict) untyped(n *yaml.Node, path string) any {
	if !s.afford(path) {
		return nil
	}
	switch n.Kind {
	case yaml.AliasNode:
		return s.untyped(n.Alias, path)
	case yaml.MappingNode:
		return s.object(n, reflect.TypeFor[map[string]any](), path)
	case yaml.SequenceNode:
		return s.list(n, reflect.TypeFor[[]any](), path)
	}
	var v any
	if err := n.Decode(&v); err != nil {
		s.report(n, path, "not a value: "+err.Error(), "")
	}
	return v
}

func (s *strict) mismatch(n *yaml.Node, path, want string) any {
	s.report(n, path, fmt.Sprintf("expected %s, found %s", want, nodeName(n)), "")
	return nil
}

func (s *strict) report(n *yaml.Node, path, message, hint string) {
	if len(s.findings) == maxFindings {
		return
	}
	s.findings = append(s.findings, Finding{
		Doc: s.doc, Kind: s.kind, Line: n.Line, Column: n.Column, Field: path, Message: message, Hint: hint,
	})
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
