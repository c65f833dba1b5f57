package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// referenceDir holds one page for each command of the first level.
const referenceDir = "../../docs/reference"

// The reference says what the commands say of themselves; "make generate"
// rewrites it.
func TestReferenceIsCurrent(t *testing.T) {
	want := referencePages(commandTree())
	if *update {
		writeReference(t, want)
	}
	entries, err := os.ReadDir(referenceDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, ok := want[e.Name()]; !ok {
			t.Errorf("%s/%s is about no command: run 'make generate'", referenceDir, e.Name())
		}
	}
	for name, text := range want {
		have, err := os.ReadFile(filepath.Join(referenceDir, name))
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(string(have), text); diff != "" {
			t.Errorf("%s/%s differs from what the commands say: run 'make generate'\n%s", referenceDir, name, diff)
		}
	}
}

func writeReference(t *testing.T, pages map[string]string) {
	t.Helper()
	if err := os.RemoveAll(referenceDir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(referenceDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(referenceDir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// commandTree returns all commands, with those that cobra adds when it runs.
func commandTree() *cobra.Command {
	root := newRoot(newUI(&bytes.Buffer{}, &bytes.Buffer{}))
	root.InitDefaultCompletionCmd("boot")
	return root
}

// visible lists the commands below c that people are told of.
func visible(c *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(c.Commands()), func(c *cobra.Command) bool { return !c.IsAvailableCommand() })
}

// referencePages returns the pages of the reference by their file names.
func referencePages(root *cobra.Command) map[string]string {
	pages := map[string]string{}
	var index strings.Builder
	fmt.Fprintf(&index, "# Commands\n\n%s\n", strings.TrimSpace(root.Long))
	index.WriteString("\n| command | what it does |\n|---|---|\n")
	for _, c := range visible(root) {
		pages[c.Name()+".md"] = referencePage(c)
		fmt.Fprintf(&index, "| [`%s`](%s.md) | %s |\n", c.CommandPath(), c.Name(), cell(c.Short))
		for _, sub := range visible(c) {
			fmt.Fprintf(&index, "| [`%s`](%s.md#%s) | %s |\n", sub.CommandPath(), c.Name(), anchor(sub), cell(sub.Short))
		}
	}
	fmt.Fprintf(&index, "\nEvery command takes:\n\n%s", flagBlock(root.PersistentFlags().FlagUsages()))
	pages["README.md"] = index.String()
	return pages
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func anchor(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// referencePage describes a command and all below it.
func referencePage(c *cobra.Command) string {
	var page strings.Builder
	section(&page, c, "#")
	return page.String()
}

func section(page *strings.Builder, c *cobra.Command, level string) {
	fmt.Fprintf(page, "%s %s\n\n", level, c.CommandPath())
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	fmt.Fprintf(page, "%s\n", strings.TrimSpace(text))
	if c.Runnable() {
		fmt.Fprintf(page, "\n```text\n%s\n```\n", c.UseLine())
	}
	if c.Example != "" {
		fmt.Fprintf(page, "\n```sh\n%s\n```\n", outdent(c.Example))
	}
	if usages := c.LocalFlags().FlagUsages(); usages != "" {
		fmt.Fprintf(page, "\n%s", flagBlock(usages))
	}
	if above := givers(c); len(above) > 0 {
		fmt.Fprintf(page, "\nIt also takes the flags of %s.\n", strings.Join(above, " and "))
	}
	for _, sub := range visible(c) {
		page.WriteString("\n")
		section(page, sub, "##")
	}
}

// givers names the commands above c, but for the first, whose flags it takes.
func givers(c *cobra.Command) []string {
	var names []string
	for p := c.Parent(); p != nil && p.HasParent(); p = p.Parent() {
		if p.PersistentFlags().HasFlags() {
			names = append(names, "`"+p.CommandPath()+"`")
		}
	}
	return names
}

func flagBlock(usages string) string {
	return "```text\n" + strings.TrimRight(usages, "\n") + "\n```\n"
}

// outdent removes the indentation that examples have in a terminal.
func outdent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(strings.TrimRight(l, " \t"), "\t"), "  ")
	}
	return strings.Join(lines, "\n")
}
