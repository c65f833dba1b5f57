package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// What the documentation tells people to type exists: every line of a block that
// begins with "boot", and every `boot …` in a sentence.
func TestDocumentedCommandsExist(t *testing.T) {
	root := commandTree()
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range typedIn(string(text)) {
			if problem := wrongWith(root, line); problem != "" {
				t.Errorf("%s: %s: %s", path, line, problem)
			}
		}
	}
}

// So does what the examples of the commands themselves show.
func TestExamplesExist(t *testing.T) {
	root := commandTree()
	eachCommand(root, func(c *cobra.Command) {
		if c.CommandPath() == "boot completion "+c.Name() { // cobra's own
			return
		}
		for _, line := range commandLines(c.Example) {
			if problem := wrongWith(root, line); problem != "" {
				t.Errorf("%s: example %q: %s", c.CommandPath(), line, problem)
			}
		}
	})
}

var link = regexp.MustCompile(`\]\(([^)#: ]*)(?:#([^)]*))?\)`)

// What a page leads to is there, and every page is led to.
func TestDocumentedLinksLead(t *testing.T) {
	reached := map[string]bool{}
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			to := path
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(path), m[1])
				reached[filepath.Clean(to)] = true
			}
			if !headed(t, to, m[2]) {
				t.Errorf("%s: %s leads nowhere", path, m[0])
			}
		}
	}
	for _, path := range documents(t) {
		if strings.HasPrefix(path, "../../docs/") && path != "../../docs/README.md" && filepath.Base(path) != "README.md" && !reached[path] {
			t.Errorf("%s: no page leads there; docs/README.md is to", path)
		}
	}
}

// headed reports whether a file is there and has a heading by the name in a link.
func headed(t *testing.T, path, heading string) bool {
	t.Helper()
	if heading == "" {
		_, err := os.Stat(path)
		return err == nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimLeft(strings.TrimSpace(line), "#"), " "); ok && strings.HasPrefix(line, "#") &&
			strings.ReplaceAll(regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(name), ""), " ", "-") == heading {
			return true
		}
	}
	return false
}

// The check of the documentation finds what is not there.
func TestWrongWith(t *testing.T) {
	root := commandTree()
	for line, wrong := range map[string]bool{
		"boot init --dry-run":                    false,
		"boot init --config=kubeadm.yaml":        false,
		"boot init phase certs -v 2":             false,
		"boot join 192.0.2.1:6443 --token … --v": true,
		"boot token":                                    false,
		"boot token create --ttl 0 --not-a-flag":        true,
		"boot token mint":                               true,
		"boot initt":                                    true,
		"boot reset --force | tee log":                  false,
		"boot etcd remove NAME  # when it is gone":      false,
		"boot join … --control-plane --certificate-key": false,
	} {
		if got := wrongWith(root, line); (got != "") != wrong {
			t.Errorf("%s: %q", line, got)
		}
	}
}

// documents lists what is written for users.
func documents(t *testing.T) []string {
	t.Helper()
	paths := []string{"../../README.md", "../../CONTRIBUTING.md", "../../ARCHITECTURE.md"}
	err := filepath.WalkDir("../../docs", func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(d.Name()) == ".md" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

var inSentence = regexp.MustCompile("`(boot(?: [^`]*)?)`")

// typedIn returns the command lines that a page shows.
func typedIn(page string) []string {
	all := commandLines(page)
	for _, m := range inSentence.FindAllStringSubmatch(strings.ReplaceAll(page, "\n", " "), -1) {
		all = append(all, m[1])
	}
	return all
}

// commandLines returns the lines that begin with "boot", after a prompt or sudo,
// and indented or in a block; continued lines are joined.
func commandLines(text string) []string {
	var all []string
	fenced := false
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "```") {
			fenced = !fenced
			continue
		}
		if !fenced && !strings.HasPrefix(line, "  ") {
			continue
		}
		for _, prompt := range []string{"$ ", "sudo "} {
			trimmed = strings.TrimPrefix(trimmed, prompt)
		}
		if strings.HasPrefix(trimmed, "boot ") {
			all = append(all, trimmed)
		}
	}
	return all
}

// wrongWith says what of a command line does not exist, or nothing.
func wrongWith(root *cobra.Command, line string) string {
	c := root
	for i, word := range strings.Fields(line)[1:] {
		switch {
		case strings.ContainsAny(word[:1], "#|>&;"):
			return ""
		case strings.HasPrefix(word, "-"):
			if !hasFlag(c, word) {
				return c.CommandPath() + " has no flag " + word
			}
		default:
			sub := child(c, word)
			if sub == nil && i == 0 && isWord(word) {
				return "no such command"
			}
			if sub == nil && !c.Runnable() && isWord(word) {
				return c.CommandPath() + " has no command " + word
			}
			if sub != nil {
				c = sub
			}
		}
	}
	return ""
}

// isWord tells names of commands from what stands for something else.
func isWord(word string) bool { return regexp.MustCompile(`^[a-z][a-z-]*$`).MatchString(word) }

func child(c *cobra.Command, name string) *cobra.Command {
	for _, sub := range c.Commands() {
		if sub.Name() == name || sub.HasAlias(name) {
			return sub
		}
	}
	return nil
}

func hasFlag(c *cobra.Command, word string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if name == "" || name == "help" || name == "h" || !isWord(strings.ToLower(name)) {
		return true
	}
	if strings.HasPrefix(word, "--") {
		return c.Flag(name) != nil
	}
	for p := c; p != nil; p = p.Parent() {
		if p.Flags().ShorthandLookup(name[:1]) != nil || p.PersistentFlags().ShorthandLookup(name[:1]) != nil {
			return true
		}
	}
	return false
}

// eachCommand calls f for c and all below it.
func eachCommand(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		eachCommand(sub, f)
	}
}
