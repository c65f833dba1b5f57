package templates

import (
	"slices"
	"strings"

	"boot.internal/config"
)

// command returns a command line: boot's flags sorted, but for those the user
// gives, and then the user's in their order, because repetition can matter.
func command(program string, own, extra []config.Arg) []string {
	out := []string{program}
	slices.SortFunc(own, func(a, b config.Arg) int { return strings.Compare(a.Name, b.Name) })
	for _, a := range own {
		if _, given := config.ArgValue(extra, a.Name); !given {
			out = append(out, flagOf(a))
		}
	}
	for _, a := range extra {
		out = append(out, flagOf(a))
	}
	return out
}

func flagOf(a config.Arg) string { return "--" + a.Name + "=" + a.Value }
