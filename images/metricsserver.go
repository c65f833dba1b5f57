package main

import (
	"context"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"boot.internal/images/pack"
)

func wrapMetricsServer() Wrapper {
	return Wrapper{"metrics-server", "sigs.k8s.io/metrics-server", "METRICS_SERVER"}
}

func metricsServerImage(v Versions) string {
	return registry + "metrics-server/metrics-server:" + v["METRICS_SERVER"]
}

func makeMetricsServer(ctx context.Context, b *bench) error {
	version := "k8s.io/client-go/pkg/version."
	programs, err := b.compile(ctx, Build{
		Wrapper:  wrapMetricsServer(),
		Packages: []string{wrapMetricsServer().Module + "/cmd/metrics-server"},
		Stamp: map[string]string{
			version + "gitVersion": b.versions["METRICS_SERVER"], version + "gitCommit": b.versions["METRICS_SERVER"],
		},
	})
	if err != nil {
		return err
	}
	return b.extra(metricsServerRecipe(b.versions, filepath.Join(programs, "metrics-server")))
}

func metricsServerRecipe(v Versions, program string) pack.Recipe {
	return pack.Recipe{
		Name: metricsServerImage(v),
		Root: append(base(), pack.Executable("metrics-server", program)),
		Config: v1.Config{
			Entrypoint: []string{"/metrics-server"},
			Env:        []string{searchPath},
			User:       "65534",
			WorkingDir: "/",
		},
	}
}
