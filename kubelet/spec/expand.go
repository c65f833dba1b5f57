package spec

import (
	"strings"

	v1 "k8s.io/api/core/v1"
)

// expand replaces each $(NAME) that is known. What is not known stays as it
// is, and $$ is a plain dollar, so that $$(NAME) stays $(NAME).
func expand(s string, lookup func(name string) (string, bool)) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		switch name, after, closed := strings.Cut(rest, ")"); {
		case strings.HasPrefix(rest, "$"):
			out.WriteByte('$')
			s = rest[1:]
		case strings.HasPrefix(name, "(") && closed:
			out.WriteString(replacement(name[1:], lookup))
			s = after
		default:
			out.WriteByte('$')
			s = rest
		}
	}
}

func replacement(name string, lookup func(string) (string, bool)) string {
	if v, ok := lookup(name); ok {
		return v
	}
	return "$(" + name + ")"
}

func expandAll(in []string, lookup func(string) (string, bool)) []string {
	var out []string
	for _, s := range in {
		out = append(out, expand(s, lookup))
	}
	return out
}

// lookupIn returns how to find a variable.
func lookupIn(env []v1.EnvVar) func(string) (string, bool) {
	values := make(map[string]string, len(env))
	for _, e := range env {
		values[e.Name] = e.Value
	}
	return func(name string) (string, bool) {
		v, ok := values[name]
		return v, ok
	}
}
