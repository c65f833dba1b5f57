package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite what the scripts in testdata compare with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"boot": main,
		// exits CODE ARGS… is boot, whose exit code is to be CODE.
		"exits": func() {
			if code := run(os.Args[2:], os.Stdout, os.Stderr); os.Args[1] != string(rune('0'+code)) {
				_, _ = os.Stderr.WriteString("exit code is " + string(rune('0'+code)) + "\n")
				os.Exit(1)
			}
		},
	})
}

// The command line, as transcripts.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", UpdateScripts: *update, RequireExplicitExec: true})
}

// Every command has a description, an example, and flags that say what they are.
func TestEveryCommandIsDocumented(t *testing.T) {
	root := newRoot(newUI(&bytes.Buffer{}, &bytes.Buffer{}))
	all := append(root.Commands(), root)
	for i := 0; i < len(all); i++ {
		c := all[i]
		if c != root {
			all = append(all, c.Commands()...)
		}
		if c.Short == "" || c.Example == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short %q, example %q", c.CommandPath(), c.Short, c.Example)
		}
		for line := range strings.SplitSeq(c.Flags().FlagUsages(), "\n") {
			if strings.Contains(line, "--") && len(strings.Fields(line)) < 3 {
				t.Errorf("%s: flag without usage: %s", c.CommandPath(), line)
			}
		}
	}
}
