package main

import (
	"context"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"boot.internal/images/pack"
)

func wrapCoreDNS() Wrapper { return Wrapper{"coredns", "github.com/coredns/coredns", "COREDNS"} }

func corednsImage(v Versions) string { return registry + "coredns/coredns:" + v["COREDNS"] }

func makeCoreDNS(ctx context.Context, b *bench) error {
	programs, err := b.compile(ctx, Build{
		Wrapper:  wrapCoreDNS(),
		Packages: []string{wrapCoreDNS().Module},
		Stamp:    map[string]string{wrapCoreDNS().Module + "/coremain.GitCommit": b.versions["COREDNS"]},
	})
	if err != nil {
		return err
	}
	return b.archive(corednsRecipe(b.versions, filepath.Join(programs, "coredns")))
}

func corednsRecipe(v Versions, program string) pack.Recipe {
	return pack.Recipe{
		Name: corednsImage(v),
		Root: append(base(), pack.Executable("coredns", program).BindsLowPorts()),
		Config: v1.Config{
			Entrypoint:   []string{"/coredns"},
			Env:          []string{searchPath},
			User:         nonroot,
			WorkingDir:   "/",
			ExposedPorts: map[string]struct{}{"53/tcp": {}, "53/udp": {}},
		},
	}
}
