package main

import (
	"strings"

	"boot.internal/service"
)

// flagOf returns the value of a flag among the arguments of the loop, "" if it is
// not there. Of several the last one counts.
func flagOf(args []string, name string) string {
	value := ""
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--"+name+"="); ok {
			value = v
		} else if a == "--"+name && i+1 < len(args) {
			value = args[i+1]
		}
	}
	return value
}

// dropIns is the directory that the loop of this host reads more of its
// configuration from, "" if there is none or no loop.
func dropIns() string {
	installed, err := service.Installed(service.Options{RunDir: runDir})
	if err != nil {
		return "" // then nothing is known but the file itself
	}
	return flagOf(installed.Args, "config-dir")
}
