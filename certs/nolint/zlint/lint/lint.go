// Package lint stands in for the vocabulary of zlint.
package lint

import "errors"

// A LintStatus is how bad it is, from 0, which turns linting off, to 7.
type LintStatus int

// Reserved is the lint level of profiles that are not linted.
const Reserved LintStatus = 0

// A LintResult is what one lint says.
type LintResult struct{ Status LintStatus }

// A LintSource is who made up a lint.
type LintSource string

// UnknownLintSource is every one: there are no lints.
const UnknownLintSource LintSource = "Unknown"

// FromString reads the name of a source.
func (s *LintSource) FromString(string) { *s = UnknownLintSource }

// A SourceList is several of them.
type SourceList []LintSource

// FilterOptions say which lints do not count.
type FilterOptions struct {
	ExcludeNames   []string
	ExcludeSources SourceList
}

// Empty reports whether all lints count.
func (o FilterOptions) Empty() bool { return len(o.ExcludeNames)+len(o.ExcludeSources) == 0 }

// A Registry is a set of lints.
type Registry interface {
	// Filter returns those that count.
	Filter(FilterOptions) (Registry, error)
}

// GlobalRegistry returns the set of all lints: of none.
func GlobalRegistry() Registry { return none{} }

type none struct{}

func (none) Filter(FilterOptions) (Registry, error) {
	return nil, errors.New("there are no lints: boot is built without zlint")
}
