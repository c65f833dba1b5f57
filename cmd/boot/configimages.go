package main

import (
	"github.com/spf13/cobra"

	"boot.internal/config"
)

// imageFlags say of which cluster the images are meant.
type imageFlags struct {
	path, version, repository, socket string
}

func (f *imageFlags) register(c *cobra.Command) {
	p := c.Flags()
	p.StringVar(&f.path, "config", "", "configuration `file` of the cluster")
	p.StringVar(&f.version, "kubernetes-version", "", "`version` of the cluster (default \""+config.DefaultKubernetesVersion+"\")")
	p.StringVar(&f.repository, "image-repository", "", "`registry` of the images (default \""+config.DefaultImageRepository+"\")")
	_ = c.MarkFlagFilename("config", "yaml", "yml", "json")
}

func (f *imageFlags) registerSocket(c *cobra.Command) {
	c.Flags().StringVar(&f.socket, "cri-socket", "", "`path` of the container engine's socket; found if not set")
}

// load returns the configuration whose images are meant, of whichever host.
func (f *imageFlags) load() (*config.Init, error) {
	cfg, err := config.LoadInit(config.InitOptions{
		Path: f.path, Host: config.AnyHost(),
		Flags: config.InitFlags{KubernetesVersion: f.version, ImageRepository: f.repository, CRISocket: f.socket},
	})
	return cfg, withCode(exitValidation, err)
}

// A imageList is what kubeadm prints of images, for scripts.
type imageList struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Images     []string `json:"images"`
}

func newConfigImages(ui *ui) *cobra.Command {
	c := &cobra.Command{
		Use:   "images",
		Short: "List or pull the images that a cluster needs",
		Long: `List or pull the images that a cluster needs, as kubeadm does. See "boot images" for
which of them this host has, and for hosts that reach no registry.`,
		Example: "  boot config images list\n  boot config images pull",
		Args:    noArgs,
	}
	c.AddCommand(newConfigImagesList(ui), newImagesPull(ui, "boot config images"))
	return c
}

func newConfigImagesList(ui *ui) *cobra.Command {
	var f imageFlags
	var output string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the images that a cluster needs",
		Example: `  boot config images list
  boot config images list --kubernetes-version ` + config.DefaultKubernetesVersion + ` -o json
  boot config images list --config kubeadm.yaml`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := f.load()
			if err != nil {
				return err
			}
			images := cfg.Images()
			if output != "text" {
				return ui.object(output, imageList{"output.kubeadm.k8s.io/v1alpha3", "Images", images})
			}
			for _, image := range images {
				ui.printf("%s\n", image)
			}
			return nil
		},
	}
	f.register(c)
	outputFlag(c, &output, "text", "json", "yaml")
	return c
}
