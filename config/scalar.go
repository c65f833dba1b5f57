package config

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scalar checks n against a string, a boolean or a number. What is found is
// named by its kind and never by its value, which may be a secret.
func (s *strict) scalar(n *yaml.Node, t reflect.Type, path string) any {
	want := typeName(t)
	if n.Kind != yaml.ScalarNode {
		return s.mismatch(n, path, want)
	}
	v, ok := scalarAs(n, t)
	if ok {
		return v
	}
	hint := ""
	if t.Kind() == reflect.String {
		hint = "put the value in quotes"
	}
	s.report(n, path, "expected "+want+", found "+nodeName(n), hint)
	return nil
}

func scalarAs(n *yaml.Node, t reflect.Type) (any, bool) {
	tag := n.ShortTag()
	switch t.Kind() {
	case reflect.String:
		// A plain date is a string to everyone but YAML.
		return n.Value, tag == "!!str" || tag == "!!timestamp"
	case reflect.Bool:
		return boolOf(n)
	case reflect.Float32, reflect.Float64:
		if tag != "!!int" && tag != "!!float" {
			return nil, false
		}
	default:
		if tag != "!!int" {
			return nil, false
		}
	}
	v := reflect.New(t)
	err := n.Decode(v.Interface())
	return v.Elem().Interface(), err == nil
}

// boolOf also takes the words of YAML 1.1, which kubeadm's parser takes.
func boolOf(n *yaml.Node) (value, ok bool) {
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return false, false
	}
	switch strings.ToLower(n.Value) {
	case "true", "yes", "on":
		return true, true
	case "false", "no", "off":
		return false, true
	}
	return false, false
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// isBlank tells whether n holds nothing but the zero values that kubeadm writes
// for fields nobody set.
func isBlank(n *yaml.Node) bool {
	switch n.Kind {
	case yaml.ScalarNode:
		return isNull(n) || n.Value == "" || n.Value == "0" || n.Value == "0s"
	case yaml.SequenceNode:
		return len(n.Content) == 0
	case yaml.MappingNode:
		for i := 1; i < len(n.Content); i += 2 {
			if !isBlank(n.Content[i]) {
				return false
			}
		}
		return true
	}
	return false
}

// nodeName names what is written in a file.
func nodeName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "an object"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!bool":
		return "a boolean"
	case "!!int", "!!float":
		return "a number"
	case "!!null":
		return "nothing"
	}
	return "a string"
}

// typeName names what a field wants.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int8, reflect.Int16, reflect.Int32:
		return "a whole number of 32 bits"
	}
	return "a whole number"
}
