package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"boot.internal/config"
	"boot.internal/engine"
	"boot.internal/kubelet/runtime"
)

func newImages(ui *ui) *cobra.Command {
	c := &cobra.Command{
		Use:   "images",
		Short: "See and move the images that a cluster needs, also to hosts without a registry",
		Long: `See and move the images that a cluster needs.

A host that reaches no registry gets them as one archive: "boot images bundle" makes
it on a host that has them, "boot images import" checks it and puts it where init,
join and the node agent look. Copying it into /var/lib/boot/images does as well.`,
		Example: `  # On a host that has the images
  boot images bundle images.tar.zst

  # On one that reaches no registry
  boot images import images.tar.zst
  boot init

  # Both at once
  boot images bundle - | ssh node2 boot images import -`,
		Args: noArgs,
	}
	c.AddCommand(newImagesList(ui), newImagesPull(ui, "boot images"), newImagesBundle(ui), newImagesImport(ui))
	return c
}

// engine finds the container engine that is meant.
func (f *imageFlags) engine(ctx context.Context, ui *ui, cfg *config.Init) (*engine.Engine, error) {
	return findEngine(ctx, cfg.Boot, cfg.Init.NodeRegistration.CRISocket, ui.logger())
}

func newImagesPull(ui *ui, above string) *cobra.Command {
	var f imageFlags
	c := &cobra.Command{
		Use:   "pull",
		Short: "Pull the images that a cluster needs, but for those that are there",
		Long: `Have the container engine get the images that a cluster needs: from archives in
/var/lib/boot/images, and else from their registry. Where there is no engine yet,
boot's own is started for as long as it takes.`,
		Example: fmt.Sprintf("  %s pull\n  %s pull --kubernetes-version %s", above, above, config.DefaultKubernetesVersion),
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return pullAll(c.Context(), ui, f) },
	}
	f.register(c)
	f.registerSocket(c)
	return c
}

func pullAll(ctx context.Context, ui *ui, f imageFlags) (err error) {
	cfg, err := f.load()
	if err != nil {
		return err
	}
	e, err := f.engine(ctx, ui, cfg)
	if err != nil {
		return err
	}
	stop, err := borrow(ctx, e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	// What is wrong with an archive matters if its image cannot be pulled either.
	archives := e.NewImporter(cfg.Boot.ImagesDir, nil).Run(ctx)
	conn, err := runtime.Dial(e.Endpoint(), "")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, image := range cfg.Images() {
		if err := pull(ctx, conn, image); err != nil {
			return errors.Join(err, archives)
		}
		ui.printf("[config/images] Pulled %s\n", image)
	}
	return nil
}

// borrow has an engine that answers. One that was started for that is ended by stop.
func borrow(ctx context.Context, e *engine.Engine) (stop func() error, err error) {
	if !e.Own() || e.Answers(ctx) == nil {
		return func() error { return nil }, e.Answers(ctx)
	}
	if err := e.Start(ctx); err != nil {
		return nil, err
	}
	return func() error { return e.Stop(context.WithoutCancel(ctx)) }, nil
}

// A neededImage is an image that a cluster needs, and where this host has it.
type neededImage struct {
	Image   string `json:"image"`
	Engine  bool   `json:"engine"`
	Archive string `json:"archive,omitempty"`
}

func (n neededImage) where() string {
	switch {
	case n.Engine:
		return "engine"
	case n.Archive != "":
		return n.Archive
	}
	return "missing"
}

func newImagesList(ui *ui) *cobra.Command {
	var f imageFlags
	var output string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the images that a cluster needs, and where this host has them",
		Long: `List the images that a cluster needs, and where this host has each of them: in its
container engine, in an archive that is still to be imported, or not at all.`,
		Example: "  boot images list\n  boot images list -o json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := needed(c.Context(), ui, f)
			if err != nil {
				return err
			}
			if output != "text" {
				return ui.object(output, all)
			}
			return ui.images(all)
		},
	}
	f.register(c)
	f.registerSocket(c)
	outputFlag(c, &output, "text", "json", "yaml")
	return c
}

// images prints a table.
func (u *ui) images(all []neededImage) error {
	table := tabwriter.NewWriter(u.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "IMAGE\tWHERE")
	for _, n := range all {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", n.Image, n.where())
	}
	return table.Flush()
}

func needed(ctx context.Context, ui *ui, f imageFlags) ([]neededImage, error) {
	cfg, err := f.load()
	if err != nil {
		return nil, err
	}
	e, err := f.engine(ctx, ui, cfg)
	if err != nil {
		return nil, err
	}
	archives, err := e.Archives(cfg.Boot.ImagesDir)
	if err != nil {
		ui.warn(err.Error())
	}
	works := e.Answers(ctx) == nil
	var all []neededImage
	for _, image := range cfg.Images() {
		n := neededImage{Image: image}
		for path, names := range archives {
			if slices.Contains(names, image) && (n.Archive == "" || path < n.Archive) {
				n.Archive = path
			}
		}
		if works {
			if n.Engine, err = present(ctx, e, image); err != nil {
				return nil, err
			}
		}
		all = append(all, n)
	}
	return all, nil
}
