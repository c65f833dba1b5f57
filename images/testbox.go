package main

import (
	"context"
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"boot.internal/images/pack"
)

func testboxImage(v Versions) string { return "boot.internal/testbox:" + v["TESTBOX_IMAGE"] }

func makeTestbox(ctx context.Context, b *bench) error {
	programs, err := b.compile(ctx, Build{
		Wrapper:  Wrapper{Dir: "."},
		Packages: []string{"boot.internal/images/testbox"},
	})
	if err != nil {
		return err
	}
	return b.archive(testboxRecipe(b.versions, filepath.Join(programs, "testbox")))
}

// testboxRecipe has the program under the names of its commands, too, as
// probes and hooks in examples call them.
func testboxRecipe(v Versions, program string) pack.Recipe {
	root := append(base(), pack.Executable("testbox", program))
	for _, name := range []string{"cat", "env", "exec-ok", "exit", "get", "id", "log", "ls", "resolve", "say", "sleep", "tar", "test", "winsize", "write"} {
		root = append(root, pack.Symlink(path.Join("bin", name), "/testbox"))
	}
	return pack.Recipe{Name: testboxImage(v), Root: root, Config: v1.Config{
		Entrypoint: []string{"/testbox"},
		Env:        []string{searchPath},
		WorkingDir: "/",
	}}
}
