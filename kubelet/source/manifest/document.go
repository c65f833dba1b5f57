package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	yaml3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// A document is one YAML or JSON document: its value as JSON, the way upstream
// reads it, and beside it the nodes of the text, for the line numbers.
type document struct {
	json  []byte
	value any
	root  *yaml3.Node // nil if the text has no usable nodes
}

// read finds the one document in data.
func read(data []byte) (*document, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if isJSON(data) {
		root, _ := parse(chunk{text: data}) // without nodes there are no lines, and that is all
		return newDocument(data, root)
	}
	var found *yaml3.Node
	var text []byte
	for _, c := range split(data) {
		node, err := parse(c)
		if err != nil {
			return nil, err
		}
		switch {
		case node == nil:
		case found != nil:
			return nil, &RefusedError{Issues: []Issue{{
				Line: node.Line, Message: "a second document begins here; a file holds one pod",
				Hint: "write each pod into a file of its own",
			}}}
		default:
			found, text = node, c.text
		}
	}
	if found == nil {
		return nil, ErrEmpty
	}
	converted, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, refuse(errorLine(err), "%v", err)
	}
	return newDocument(converted, found)
}

// isJSON reports whether data is one JSON object, to be taken as it is.
func isJSON(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) && json.Valid(data)
}

func newDocument(data []byte, root *yaml3.Node) (*document, error) {
	d := &document{json: data, root: root}
	if err := json.Unmarshal(data, &d.value); err != nil {
		return nil, fmt.Errorf("read converted document: %w", err)
	}
	if _, ok := d.value.(map[string]any); !ok {
		return nil, refuse(d.line(""), "this is no Pod: there are no fields")
	}
	return d, nil
}

// A chunk is the text of one document of a stream.
type chunk struct {
	text []byte
	skip int // lines before it
}

// split cuts a YAML stream at its document markers. At the start of a line
// three dashes are a marker wherever they stand, even within a block scalar.
func split(data []byte) []chunk {
	chunks := []chunk{{}}
	line := 0
	for text := range bytes.Lines(data) {
		if isMarker(text) {
			chunks = append(chunks, chunk{skip: line})
		}
		last := &chunks[len(chunks)-1]
		last.text = append(last.text, text...)
		line++
	}
	return chunks
}

func isMarker(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r' || rest[0] == '\n')
}

// parse returns the root of a document with lines counted from the start of
// the stream, or nil if there is nothing in it.
func parse(c chunk) (*yaml3.Node, error) {
	var top yaml3.Node
	if err := yaml3.Unmarshal(c.text, &top); err != nil {
		line := errorLine(err)
		if line > 0 {
			line += c.skip
		}
		return nil, refuse(line, "%s", syntaxMessage(err))
	}
	if len(top.Content) == 0 || top.Content[0].Tag == "!!null" {
		return nil, nil
	}
	shift(&top, c.skip)
	return top.Content[0], nil
}

// shift moves all nodes down by some lines.
func shift(n *yaml3.Node, lines int) {
	n.Line += lines
	for _, c := range n.Content {
		shift(c, lines)
	}
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// errorLine returns the line an error of the YAML library names, 0 if it names none.
func errorLine(err error) int {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	line, _ := strconv.Atoi(m[1]) // the expression lets only digits through
	return line
}

// syntaxMessage drops the line, which is reported apart, from a YAML error.
func syntaxMessage(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	return "no valid YAML: " + yamlLine.ReplaceAllString(text, "")
}

// line returns the line of the field, or of the nearest field around it that
// is written in the document.
func (d *document) line(path string) int {
	if d.root == nil {
		return 0
	}
	node, line := d.root, d.root.Line
	for path != "" {
		var step string
		step, path = nextStep(path)
		next, at := child(node, step)
		if next == nil {
			break
		}
		node, line = next, at
	}
	return line
}

// find returns the node at path, nil if there is none.
func (d *document) find(path string) *yaml3.Node {
	node, step := d.root, ""
	for node != nil && path != "" {
		step, path = nextStep(path)
		node, _ = child(node, step)
	}
	return node
}

// nextStep cuts the first step off a path such as spec.containers[0].name or
// metadata.labels[a.b/c].
func nextStep(path string) (step, rest string) {
	if inner, ok := strings.CutPrefix(path, "["); ok {
		step, rest, _ = strings.Cut(inner, "]")
		return step, strings.TrimPrefix(rest, ".")
	}
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		return path, ""
	}
	return path[:end], strings.TrimPrefix(path[end:], ".")
}

// child returns the value one step below a node and the line its key is on.
func child(n *yaml3.Node, step string) (*yaml3.Node, int) {
	if n.Kind == yaml3.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml3.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i+1], n.Content[i].Line
			}
		}
	case yaml3.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], n.Content[i].Line
		}
	}
	return nil, 0
}
