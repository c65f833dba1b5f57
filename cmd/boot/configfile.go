package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"boot.internal/atomicfile"
	"boot.internal/config"
	"boot.internal/hint"
)

// standardInput is what findings call a file that comes from a pipe.
const standardInput = "standard input"

// readConfig reads a configuration file, or what is piped in for "-".
func readConfig(c *cobra.Command, path string) (name string, data []byte, err error) {
	if path == "-" {
		data, err = io.ReadAll(c.InOrStdin())
		name = standardInput
	} else {
		data, err = os.ReadFile(path)
		name = path
	}
	if err != nil {
		return name, nil, withCode(exitValidation, fmt.Errorf("read configuration: %w", err))
	}
	if data == nil {
		data = []byte{} // nil would have the file read by its name
	}
	return name, data, nil
}

// A checkedFile is what "boot config validate -o json" prints.
type checkedFile struct {
	File     string         `json:"file"`
	Valid    bool           `json:"valid"`
	Findings []checkFinding `json:"findings,omitempty"`
	Warnings []string       `json:"warnings,omitempty"`
}

type checkFinding struct {
	File    string `json:"file,omitempty"` // where it is another: a drop-in
	Kind    string `json:"kind,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func newConfigValidate(ui *ui) *cobra.Command {
	var path, dropIns, output string
	c := &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Check a configuration file",
		Long: `Check a configuration file as the commands that read it would, all documents and all
of each, but for what depends on the host. Each thing that is wrong is one line
with the place in the file, and the exit code is 3.

With --config-dir, the file is checked as one that "boot kubelet" reads, with the
drop-ins of that directory.`,
		Example: `  boot config validate kubeadm.yaml
  boot config validate --config kubeadm.yaml -o json
  boot config print init-defaults | boot config validate -

  # What the node agent would make of its file and of the drop-ins
  boot config validate /var/lib/kubelet/config.yaml --config-dir /etc/kubernetes/kubelet.conf.d`,
		Args: func(c *cobra.Command, args []string) error {
			if (len(args) == 1) == (path != "") {
				return withCode(exitValidation, hint.With(errors.New("which file?"), "name one file, or - for a pipe"))
			}
			return atMostOneArg(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			name, data, err := readConfig(c, strings.Join(append(args, path), ""))
			if err != nil {
				return err
			}
			warnings, err := check(config.LoopOptions{Path: name, Data: data, DropIns: dropIns})
			return validated(ui, name, output, warnings, err)
		},
	}
	c.Flags().StringVar(&path, "config", "", "the `file`, as for kubeadm")
	c.Flags().StringVar(&dropIns, "config-dir", "", "`directory` of drop-ins for the KubeletConfiguration of the file")
	outputFlag(c, &output, "text", "json", "yaml")
	_ = c.MarkFlagFilename("config", "yaml", "yml", "json")
	_ = c.MarkFlagDirname("config-dir")
	return c
}

// outputFlag adds the flag -o, whose default is the first of its values.
func outputFlag(c *cobra.Command, to *string, values ...string) {
	last := len(values) - 1
	c.Flags().StringVarP(to, "output", "o", values[0], "`format`: "+strings.Join(values[:last], ", ")+" or "+values[last])
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// check reads a file as the commands do that have a use for it, or with drop-ins as
// the node agent does.
func check(o config.LoopOptions) ([]string, error) {
	if o.DropIns == "" {
		return config.Check(o.Path, o.Data)
	}
	loop, err := config.LoadKubelet(o)
	if err != nil {
		return nil, err
	}
	return loop.Warnings, nil
}

// validated says what is wrong with a file and what to know of it.
func validated(ui *ui, name, output string, warnings []string, err error) error {
	var wrong *config.Error
	if err != nil && !errors.As(err, &wrong) {
		return withCode(exitValidation, err)
	}
	if output != "text" {
		if err := ui.object(output, checkedFileOf(name, warnings, wrong)); err != nil || wrong == nil {
			return err
		}
		return withCode(exitValidation, errors.New(name+" is not valid"))
	}
	for _, w := range warnings {
		ui.warn(w)
	}
	if wrong != nil {
		return withCode(exitValidation, errors.New(strings.Join(places(cmp.Or(wrong.Source, name), wrong), "\n")))
	}
	ui.printf("%s is valid\n", name)
	return nil
}

// places shows findings with their places as compilers do, which editors know how to
// follow.
func places(name string, wrong *config.Error) []string {
	var lines []string
	for _, f := range wrong.Findings {
		line := cmp.Or(f.File, name)
		if f.Line > 0 {
			line += fmt.Sprintf(":%d:%d", f.Line, f.Column)
		}
		f.File, f.Doc, f.Line, f.Column = "", 0, 0, 0
		if f.Kind != "" {
			line += ": " + f.Kind
		}
		lines = append(lines, line+": "+f.String())
	}
	return lines
}

func checkedFileOf(name string, warnings []string, wrong *config.Error) checkedFile {
	all := checkedFile{File: name, Valid: wrong == nil, Warnings: warnings}
	if wrong != nil {
		for _, f := range wrong.Findings {
			file := f.File
			if wrong.Source != name {
				file = cmp.Or(file, wrong.Source)
			}
			all.Findings = append(all.Findings, checkFinding{file, f.Kind, f.Line, f.Column, f.Field, f.Message, f.Hint})
		}
	}
	return all
}

func newConfigMigrate(ui *ui) *cobra.Command {
	var from, to string
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Rewrite a file that was written for an older kubeadm",
		Long: `Rewrite kubeadm's v1beta3 documents as v1beta4. Comments, order and documents of
others stay as they are, nothing is filled in, and a file that is new already stays
to the letter.`,
		Example: `  boot config migrate --old-config kubeadm.yaml --new-config kubeadm-new.yaml

  # To look at it
  boot config migrate --old-config kubeadm.yaml | diff kubeadm.yaml -`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if from == "" {
				return withCode(exitValidation, hint.With(errors.New("which file?"), "name it with --old-config, or - for a pipe"))
			}
			name, data, err := readConfig(c, from)
			if err != nil {
				return err
			}
			return migrate(ui, name, data, to)
		},
	}
	c.Flags().StringVar(&from, "old-config", "", "the `file` to rewrite, - for a pipe")
	c.Flags().StringVar(&to, "new-config", "", "`file` to write; printed if not set")
	for _, flag := range []string{"old-config", "new-config"} {
		_ = c.MarkFlagFilename(flag, "yaml", "yml", "json")
	}
	return c
}

func migrate(ui *ui, name string, data []byte, to string) error {
	text, err := config.Migrate(name, data)
	if err != nil {
		return withCode(exitValidation, err)
	}
	if to == "" {
		ui.printf("%s", text)
		return nil
	}
	// It may hold a token or a key.
	return atomicfile.Write(to, text, 0o600)
}
