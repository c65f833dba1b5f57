package config

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// fieldsOf returns the fields of a struct by the names JSON knows them by,
// those of inlined structs included.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case name == "" && f.Anonymous && f.Type.Kind() == reflect.Struct:
			maps.Copy(out, fieldsOf(f.Type))
		case name == "":
			out[f.Name] = f.Type
		default:
			out[name] = f.Type
		}
	}
	return out
}

// unknownHint tells where an unknown field was probably meant to go: a similar
// name in the same object, the same name elsewhere in this or another kind of
// document.
func unknownHint(kind, name string, known map[string]reflect.Type) string {
	if near := nearest(name, slices.Sorted(maps.Keys(known))); near != "" {
		return "did you mean " + strconv.Quote(near) + "?"
	}
	for _, t := range sameKindFirst(kind) {
		root := reflect.TypeOf(t.into(&documents{})).Elem().Elem()
		if path := find(root, name, 3); path != "" {
			if t.kind == kind {
				return "did you mean " + strconv.Quote(path) + "?"
			}
			return strconv.Quote(path) + " is part of " + t.kind
		}
	}
	return ""
}

func sameKindFirst(kind string) []target {
	all := targets()
	slices.SortStableFunc(all, func(a, b target) int {
		return boolCompare(a.kind != kind, b.kind != kind)
	})
	return all
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// find returns the path of a field of that name in t, the shallowest first.
func find(t reflect.Type, name string, depth int) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if depth == 0 || t.Kind() != reflect.Struct || decodesItself(t) {
		return ""
	}
	fields := fieldsOf(t)
	if _, ok := fields[name]; ok {
		return name
	}
	best := ""
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		sub := find(fields[f], name, depth-1)
		if sub != "" && (best == "" || strings.Count(sub, ".")+1 < strings.Count(best, ".")) {
			best = f + "." + sub
		}
	}
	return best
}

// nearest returns the candidate that name is most probably a typing mistake
// of, or "".
func nearest(name string, candidates []string) string {
	if len(name) > 64 { // longer than any field
		return ""
	}
	best, limit := "", max(1, len(name)/4)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < limit {
			best, limit = c, d
		}
	}
	return best
}

// distance is the number of single-letter edits between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			edit := diagonal
			if a[i] != b[j] {
				edit = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], edit
		}
	}
	return row[len(b)]
}
