package main

import (
	"context"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"boot.internal/images/pack"
)

func wrapPrometheus() Wrapper {
	return Wrapper{"prometheus", "github.com/prometheus/prometheus", "PROMETHEUS"}
}

// prometheusVersion is the version of the program: v0.315.0 of the module is
// Prometheus 3.15.0.
func prometheusVersion(v Versions) string {
	parts := strings.SplitN(strings.TrimPrefix(v["PROMETHEUS"], "v0."), ".", 2)
	if len(parts) < 2 || len(parts[0]) < 3 {
		return v["PROMETHEUS"]
	}
	n := len(parts[0]) - 2
	return "v" + parts[0][:n] + "." + strings.TrimPrefix(parts[0][n:], "0") + "." + parts[1]
}

func prometheusImage(v Versions) string {
	return "quay.io/prometheus/prometheus:" + prometheusVersion(v)
}

// makePrometheus builds it without its pages, and with no way of finding targets
// but files and what is configured: each of the others brings the client of a
// cloud.
func makePrometheus(ctx context.Context, b *bench) error {
	programs, err := b.compile(ctx, Build{
		Wrapper:  wrapPrometheus(),
		Packages: []string{wrapPrometheus().Module + "/cmd/prometheus"},
		Tags:     []string{"netgo", "remove_all_sd"},
		Stamp:    map[string]string{"github.com/prometheus/common/version.Version": prometheusVersion(b.versions)[1:]},
	})
	if err != nil {
		return err
	}
	return b.extra(prometheusRecipe(b.versions, filepath.Join(programs, "prometheus")))
}

func prometheusRecipe(v Versions, program string) pack.Recipe {
	return pack.Recipe{
		Name: prometheusImage(v),
		Root: append(base(), pack.Executable("bin/prometheus", program), pack.Sticky("prometheus", 0o777),
			pack.Text("etc/prometheus/prometheus.yml", "scrape_configs: []\n")),
		Config: v1.Config{
			Entrypoint:   []string{"/bin/prometheus"},
			Cmd:          []string{"--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"},
			Env:          []string{searchPath},
			User:         "65534",
			WorkingDir:   "/prometheus",
			ExposedPorts: map[string]struct{}{"9090/tcp": {}},
		},
	}
}
