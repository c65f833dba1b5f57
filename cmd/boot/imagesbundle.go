package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"boot.internal/atomicfile"
	"boot.internal/engine"
	"boot.internal/hint"
)

// oneFile wants a file, or - for a pipe.
func oneFile(c *cobra.Command, args []string) error {
	if err := cobra.ExactArgs(1)(c, args); err != nil {
		return withCode(exitValidation, hint.With(err, "name one file, or - for a pipe"))
	}
	return nil
}

func newImagesBundle(ui *ui) *cobra.Command {
	var f imageFlags
	var more []string
	c := &cobra.Command{
		Use:   "bundle FILE",
		Short: "Write the images that a cluster needs into one archive",
		Long: `Write the images that a cluster needs into one OCI archive, for hosts that reach no
registry: from the container engine, or from the archives in /var/lib/boot/images. If
one cannot be had, nothing is written. The archive is compressed unless its name
ends with .tar; it is for machines of this one's architecture.`,
		Example: `  boot images bundle images.tar.zst

  # With an application
  boot images bundle images.tar.zst --image registry.example.org/shop:3

  # Into a pipe
  boot images bundle - | ssh node2 boot images import -`,
		Args: oneFile,
		RunE: func(c *cobra.Command, args []string) error { return bundle(c.Context(), ui, f, args[0], more) },
	}
	f.register(c)
	f.registerSocket(c)
	c.Flags().StringSliceVar(&more, "image", nil, "further `images`, by their full names")
	return c
}

func bundle(ctx context.Context, ui *ui, f imageFlags, path string, more []string) error {
	if ext := filepath.Ext(path); path != "-" && ext != ".tar" && !strings.HasSuffix(path, ".tar.zst") {
		return withCode(exitValidation, hint.With(fmt.Errorf("write %s: its name says nothing of an archive", path), "let it end with .tar.zst or .tar"))
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	e, err := f.engine(ctx, ui, cfg)
	if err != nil {
		return err
	}
	o := engine.BundleOptions{Images: append(cfg.Images(), more...), Dir: cfg.Boot.ImagesDir, Plain: filepath.Ext(path) == ".tar"}
	if path == "-" {
		if file, ok := ui.out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
			return withCode(exitValidation, hint.With(errors.New("write an archive to a terminal"), "name a file, or pipe it into another program"))
		}
		return e.Bundle(ctx, ui.out, o)
	}
	var size int64
	err = atomicfile.Stream(path, 0o644, func(f *os.File) error {
		if err := e.Bundle(ctx, f, o); err != nil {
			return err
		}
		size, err = f.Seek(0, io.SeekCurrent)
		return err
	})
	if err != nil {
		return err
	}
	ui.printf("%d images are in %s (%d MB)\n", len(o.Images), path, size>>20)
	return nil
}

func newImagesImport(ui *ui) *cobra.Command {
	var f imageFlags
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Check an archive of images and give it to the container engine",
		Long: `Check an archive of images, put it into /var/lib/boot/images, where init, join and the
node agent look for images before they pull any, and have the container engine import
it if that runs already. One that is cut off or damaged is refused as a whole.`,
		Example: `  boot images import images.tar.zst
  ssh node1 boot images bundle - | boot images import -`,
		Args: oneFile,
		RunE: func(c *cobra.Command, args []string) error {
			return importImages(c.Context(), ui, f, args[0], c.InOrStdin())
		},
	}
	c.Flags().StringVar(&f.path, "config", "", "configuration `file` that says where archives are kept")
	_ = c.MarkFlagFilename("config", "yaml", "yml", "json")
	f.registerSocket(c)
	return c
}

func importImages(ctx context.Context, ui *ui, f imageFlags, path string, in io.Reader) error {
	cfg, err := f.load()
	if err != nil {
		return err
	}
	name := "images"
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("read image archive: %w", err)
		}
		defer func() { _ = file.Close() }()
		in, name = file, path
	}
	e, err := f.engine(ctx, ui, cfg)
	if err != nil {
		return err
	}
	at, names, err := e.Keep(ctx, in, cfg.Boot.ImagesDir, name)
	if err != nil {
		return err
	}
	if e.Answers(ctx) != nil {
		ui.printf("%d images are in %s; the container engine gets them when it starts\n", len(names), at)
		return nil
	}
	if err := e.Import(ctx, at, nil); err != nil {
		return err
	}
	for _, name := range names {
		ui.printf("imported %s\n", name)
	}
	return nil
}
