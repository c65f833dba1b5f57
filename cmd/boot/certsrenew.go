package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/hint"
	"boot.internal/phases"
)

func newCertsRenew(ui *ui, f *certsFlags) *cobra.Command {
	var validity string
	var timeout time.Duration
	var dryRun bool
	c := &cobra.Command{
		Use:   "renew [NAME…|all]",
		Short: "Renew certificates of this node, and have them used",
		Long: `Renew certificates of this node with the keys of the authorities that are on it, and
have them used. Subject, names and uses stay; the key is a new one.

Most components notice by themselves, which is waited for. A pod that only reads its
certificate at its start, such as those of the controller manager and the scheduler,
is replaced, one after the other: each has to become healthy before the next one's
turn, and where it does not, what was before comes back.

The names are: ` + strings.Join(certs.Names(), ", ") + `.
All of them are renewed if none is named. A certificate whose authority's key is not
on this node is left to whoever has that key; see 'boot certs generate-csr'.`,
		Example: `  # All that can be renewed on this node
  boot certs renew

  # What would be done
  boot certs renew all --dry-run

  # The API server's serving certificate and the administrator's kubeconfig, for 90 days
  boot certs renew apiserver admin.conf --validity 90d

  # For a script
  boot certs renew -o json | jq -r 'select(.type == "result") | .certificates[].name'`,
		ValidArgsFunction: completeNames(len(certs.Names()), func(context.Context) ([]cobra.Completion, error) {
			return append(certs.Names(), "all"), nil
		}),
		RunE: func(c *cobra.Command, names []string) error {
			life, err := parseDays(validity)
			if err != nil {
				return withCode(exitValidation, err)
			}
			return runCertsRenew(c.Context(), ui, *f, renewal{names, life, timeout, dryRun})
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be done and change nothing")
	c.Flags().DurationVar(&timeout, "timeout", 4*time.Minute, "`duration` that a pod may take to become healthy, before what was comes back")
	c.Flags().StringVar(&validity, "validity", "", "`time` that the new certificates are good for, such as 90d; as long as those before if not set")
	ui.eventsFlag(c.Flags())
	return c
}

// A renewal is what to renew and for how long.
type renewal struct {
	names   []string
	life    time.Duration // 0: as long as those before
	timeout time.Duration // of each pod
	dryRun  bool
}

func runCertsRenew(ctx context.Context, ui *ui, f certsFlags, r renewal) error {
	held := certs.Hold(f.places())
	found, err := certs.Find(held, r.names)
	if err != nil {
		return withCode(exitValidation, err)
	}
	found, refused := renewableOf(ui, found)
	if len(found) == 0 {
		return errors.Join(refused, hint.With(errors.New("there is no certificate that could be renewed on this node"),
			"'boot certs check' tells who has the keys; run this on a control-plane node, as root"))
	}
	node, err := nodeOf(held)
	if err != nil {
		return err
	}
	o, err := renewOptions(ui, f, node)
	if err != nil {
		return err
	}
	o.Held, o.Life, o.Rollout.Timeout = found, r.life, r.timeout
	if err := runRenewal(ctx, ui, o, r.dryRun); err != nil {
		return err
	}
	return refused
}

// renewableOf leaves out what cannot be renewed here, and says so: the others need
// not wait for it.
func renewableOf(ui *ui, found []certs.Held) (able []certs.Held, refused error) {
	for _, h := range found {
		if err := h.Renewable(time.Now()); err != nil {
			ui.warn(err.Error())
			refused = errors.Join(refused, err)
			continue
		}
		able = append(able, h)
	}
	return able, refused
}

// renewOptions are those of this node's loop, for no certificate yet.
func renewOptions(ui *ui, f certsFlags, node string) (phases.RenewOptions, error) {
	loop, err := config.LoadKubelet(config.LoopOptions{
		Path: filepath.Join(phases.DefaultDirs().Kubelet, "config.yaml"), DropIns: dropIns(),
	})
	if err != nil {
		return phases.RenewOptions{}, err
	}
	rollout, err := rolloutOptions(ui, loop, node)
	return phases.RenewOptions{Places: f.places(), Rollout: rollout}, err
}

func runRenewal(ctx context.Context, ui *ui, o phases.RenewOptions, dryRun bool) error {
	if !dryRun {
		turn, err := phases.RolloutTurn(ctx, o.Rollout.State)
		if err != nil {
			return err
		}
		defer turn.Release()
	}
	runner := phases.Runner{DryRun: dryRun, Report: ui.progress(dryRun)}
	if err := runner.Run(ctx, phases.Renew(o)); err != nil {
		return exitOf(err)
	}
	if dryRun {
		return nil
	}
	ui.renewed(o)
	return nil
}

// A renewed certificate, as it is told.
type renewed struct {
	Name    string    `json:"name"`
	Expires time.Time `json:"expires"`
}

// renewed says until when the new certificates are good.
func (u *ui) renewed(o phases.RenewOptions) {
	var all []renewed
	for _, h := range certs.Hold(o.Places) {
		asked := slices.ContainsFunc(o.Held, func(was certs.Held) bool { return was.Name == h.Name })
		if asked && h.Certificate != nil {
			all = append(all, renewed{h.Name, h.Certificate.NotAfter.UTC()})
			u.printf("%s is good until %s\n", h.Name, h.Certificate.NotAfter.UTC().Format(time.RFC1123))
		}
	}
	u.made(result{Certificates: all})
}

func newCertsRequest(ui *ui, f *certsFlags) *cobra.Command {
	var path string
	var dryRun bool
	c := &cobra.Command{
		Use:   "generate-csr",
		Short: "Make keys and signing requests for an external authority",
		Long: `Make keys, and requests that the holder of an external authority's key can sign.

Each request is beside its certificate, with ".csr" at the end. Kubeconfigs come
without their user's certificate, which is to be put in. Keys and kubeconfigs that
are there already are used and stay as they are.`,
		Example: `  boot certs generate-csr

  # For a cluster to be, in directories of one's own
  boot certs generate-csr --config kubeadm.yaml --cert-dir /tmp/pki --kubeconfig-dir /tmp/conf`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runCertsRequest(c.Context(), ui, *f, path, dryRun) },
	}
	c.Flags().StringVar(&path, "config", "", "configuration `file` of the cluster: kubeadm.k8s.io/v1beta4 documents")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be done and change nothing")
	_ = c.MarkFlagFilename("config", "yaml", "yml", "json")
	ui.eventsFlag(c.Flags())
	return c
}

func runCertsRequest(ctx context.Context, ui *ui, f certsFlags, path string, dryRun bool) error {
	host, err := config.ReadHost()
	if err != nil {
		return err
	}
	cfg, err := config.LoadInit(config.InitOptions{Path: path, Flags: config.InitFlags{CertDir: f.certDir}, Host: host})
	if err != nil {
		return withCode(exitValidation, err)
	}
	for _, w := range cfg.Warnings {
		ui.warn(w)
	}
	dirs := phases.DefaultDirs()
	if f.kubeconfigDir != dirs.Kubernetes {
		// What belongs to the node itself is for the same place then.
		dirs.Kubernetes, dirs.Kubelet = f.kubeconfigDir, f.kubeconfigDir
	}
	steps, err := phases.Requests(cfg, dirs)
	if err != nil {
		return withCode(exitValidation, err)
	}
	runner := phases.Runner{DryRun: dryRun, Report: ui.progress(dryRun)}
	if err := runner.Run(ctx, steps); err != nil {
		return fmt.Errorf("make requests: %w", err)
	}
	return nil
}
