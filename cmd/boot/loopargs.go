package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"boot.internal/config"
	"boot.internal/phases"
	"boot.internal/service"
)

// loopArgs are the arguments with which the loop lives on. It runs elsewhere, so what
// paths of the user's count from is the directory of this command.
func loopArgs(cfg *config.Init) ([]string, error) {
	dirs := phases.DefaultDirs()
	args := []string{
		"kubelet",
		"--config", filepath.Join(dirs.Kubelet, "config.yaml"),
		"--kubeconfig", filepath.Join(dirs.Kubernetes, "kubelet.conf"),
		"--hostname-override", cfg.Init.NodeRegistration.Name,
		"--node-ip", cfg.Init.LocalAPIEndpoint.AdvertiseAddress,
	}
	for _, a := range cfg.Init.NodeRegistration.KubeletExtraArgs {
		if a.Value != "" && slices.Contains(pathArgs(), a.Name) {
			var err error
			if a.Value, err = filepath.Abs(a.Value); err != nil {
				return nil, fmt.Errorf("nodeRegistration.kubeletExtraArgs: %s: %w", a.Name, err)
			}
		}
		args = append(args, fmt.Sprintf("--%s=%s", a.Name, a.Value))
	}
	return args, nil
}

// pathArgs are the flags of the kubelet that name a file or a directory.
func pathArgs() []string {
	return []string{"bootstrap-kubeconfig", "cert-dir", "config-dir", "image-credential-provider-config", "image-credential-provider-bin-dir"}
}

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
