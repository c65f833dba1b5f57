package main

import (
	"context"
	"os/exec"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"boot.internal/images/pack"
)

func pauseImage(v Versions) string { return registry + "pause:" + v["PAUSE_IMAGE"] }

func makePause(ctx context.Context, b *bench) error {
	program := filepath.Join(b.work, "pause")
	if err := compilePause(ctx, filepath.Join(b.src, "pause", "pause.c"), program); err != nil {
		return err
	}
	return b.archive(pauseRecipe(b.versions, program))
}

func pauseRecipe(v Versions, program string) pack.Recipe {
	return pack.Recipe{
		Name: pauseImage(v),
		Root: pack.Tree{pack.Executable("pause", program)},
		Config: v1.Config{
			Entrypoint: []string{"/pause"},
			Env:        []string{searchPath},
			User:       nobody,
			WorkingDir: "/",
		},
	}
}

// compilePause compiles the one program that is not written in Go.
func compilePause(ctx context.Context, source, program string) error {
	return run(exec.CommandContext(ctx, "gcc", "-Os", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-o", program, source))
}
