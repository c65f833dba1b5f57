package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	yaml3 "go.yaml.in/yaml/v3"
	v1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"
)

// decode reads the document as a pod. Fields that do not exist are warnings,
// fields of a wrong type are errors (SP-10).
func (d *document) decode() (*v1.Pod, []Issue, error) {
	p := &v1.Pod{}
	strict, err := kjson.UnmarshalStrict(d.json, p)
	if err != nil {
		return nil, nil, d.misfits(err)
	}
	warnings := duplicateKeys(d.root)
	for _, e := range strict {
		warnings = append(warnings, unknownField(e))
	}
	return p, d.locate(warnings), nil
}

// unknownField words a finding of the strict decoder.
func unknownField(err error) Issue {
	var fe kjson.FieldError
	if !errors.As(err, &fe) {
		return Issue{Message: err.Error()}
	}
	if strings.HasPrefix(err.Error(), "duplicate") {
		return Issue{Field: fe.FieldPath(), Message: "is written twice; the last one counts"}
	}
	return Issue{
		Field: fe.FieldPath(), Message: "no such field; it is ignored",
		Hint: "look at spelling, capitals and indentation",
	}
}

// duplicateKeys finds what the conversion to JSON drops without a word.
func duplicateKeys(n *yaml3.Node) []Issue {
	if n == nil {
		return nil
	}
	var found []Issue
	if n.Kind == yaml3.MappingNode {
		seen := map[string]bool{}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if seen[key.Value] {
				found = append(found, Issue{
					Line: key.Line, Message: fmt.Sprintf("%s is written twice; the last one counts", key.Value),
				})
			}
			seen[key.Value] = true
		}
	}
	for _, c := range n.Content {
		found = append(found, duplicateKeys(c)...)
	}
	return found
}

// misfits says which values are of a wrong type. The decoder stops at the
// first and does not tell which list item it was in, so every value is tried
// alone in an otherwise empty pod.
func (d *document) misfits(whole error) *RefusedError {
	var found []Issue
	leaves(d.value, nil, func(path []any, value any) {
		data, err := json.Marshal(nest(path, value))
		if err != nil {
			return
		}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &v1.Pod{}); err != nil {
			found = append(found, misfit(pathString(path), value, err))
		}
	})
	if len(found) == 0 { // wrong only in company, which no field of a Pod is
		found = []Issue{{Message: whole.Error()}}
	}
	return d.refuse(found...)
}

// misfit says what is wrong about one value.
func misfit(path string, value any, err error) Issue {
	var te *json.UnmarshalTypeError
	if !errors.As(err, &te) {
		return Issue{Field: path, Message: fmt.Sprintf("%v: %v", value, err)}
	}
	issue := Issue{Field: path, Message: fmt.Sprintf("%s where %s is expected", te.Value, te.Type)}
	if te.Type.Kind() == reflect.String && te.Value != "object" && te.Value != "array" {
		issue.Hint = "put the value into quotes" // YAML takes y, on and 1.0 for something else
	}
	return issue
}

// leaves calls f for everything below v that has nothing below itself.
func leaves(v any, path []any, f func(path []any, value any)) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			leaves(v[key], append(slices.Clip(path), key), f)
		}
		if len(v) == 0 {
			f(path, v)
		}
	case []any:
		for i, item := range v {
			leaves(item, append(slices.Clip(path), i), f)
		}
		if len(v) == 0 {
			f(path, v)
		}
	default:
		f(path, v)
	}
}

// nest puts value where path leads, in an otherwise empty document.
func nest(path []any, value any) any {
	for _, step := range slices.Backward(path) {
		if key, ok := step.(string); ok {
			value = map[string]any{key: value}
		} else {
			value = []any{value}
		}
	}
	return value
}

func pathString(path []any) string {
	var b strings.Builder
	for _, step := range path {
		switch step := step.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(step) + "]")
		case string:
			if strings.ContainsAny(step, "./[") {
				b.WriteString("[" + step + "]")
				continue
			}
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(step)
		}
	}
	return b.String()
}
