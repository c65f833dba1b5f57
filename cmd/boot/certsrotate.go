package main

import (
	"cmp"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/filelock"
	"boot.internal/hint"
	"boot.internal/phases"
)

// rotateFlags are the flags of "boot certs rotate-ca".
type rotateFlags struct {
	*certsFlags
	skip    []string
	ignore  []string
	timeout time.Duration
	yes     bool
	dryRun  bool
}

func newCertsRotate(ui *ui, cf *certsFlags) *cobra.Command {
	f := rotateFlags{certsFlags: cf}
	c := &cobra.Command{
		Use:   "rotate-ca [NAME…|all]",
		Short: "Replace the authorities of the cluster, on all nodes",
		Long: `Replace the authorities of the cluster by new ones, on all nodes, while everything
goes on. The names are ca, front-proxy-ca and etcd-ca; all of them are replaced if none
is named.

It is run on one control plane. The node agents of all nodes do their own part:

  trust   everybody trusts the old and the new authorities
  issue   control planes sign with the new ones, one control plane after the other
  renew   every node agent asks for its certificates again
  drop    nobody trusts the old ones any more

The next stage begins when all nodes are through the one before. Pods need not be
restarted: until drop, whatever is signed by a new authority comes with what proves it
to those who only know the old one.

At drop, kubeconfigs that were handed out stop working, as do webhooks whose caBundle
is the old authority; see docs/certificates.md for what to look for before.

Killed at any moment, here or on any node, the same command run again goes on.`,
		Example: `  # What would be done, and what speaks against it
  boot certs rotate-ca --dry-run

  # All authorities
  boot certs rotate-ca

  # That of etcd alone, in a script
  boot certs rotate-ca etcd-ca --yes

  # Without a node that is switched off: it has to be joined again later
  boot certs rotate-ca --skip-node worker7`,
		ValidArgs: []string{phases.RotateCluster, phases.RotateFrontProxy, phases.RotateEtcd, "all"},
		RunE:      func(c *cobra.Command, names []string) error { return runCertsRotate(c.Context(), ui, f, names) },
	}
	c.Flags().StringSliceVar(&f.skip, "skip-node", nil, "`names` of nodes that do not take part: what they trust and hold is left to you")
	c.Flags().StringSliceVar(&f.ignore, "ignore-preflight-errors", nil, "`checks` that stop nothing, or all")
	c.Flags().DurationVar(&f.timeout, "timeout", 15*time.Minute, "`duration` that nodes which are told at the same time may take for one stage")
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "print what would be done and change nothing")
	ui.eventsFlag(c.Flags())
	return c
}

func runCertsRotate(ctx context.Context, ui *ui, f rotateFlags, names []string) error {
	o, err := f.options(ui, names)
	if err != nil {
		return err
	}
	if o.Members != nil {
		defer func() { _ = o.Members.Close() }()
	}
	if !f.dryRun {
		lock, err := filelock.Take(ctx, filepath.Join(stateDir, "ca-rotation.lock"))
		if err != nil {
			return err
		}
		defer lock.Release()
	}
	if yes, err := f.sure(ctx, ui, o); err != nil || !yes {
		return err
	}
	runner := phases.Runner{DryRun: f.dryRun, Report: ui.progress(f.dryRun)}
	if err := runner.Run(ctx, phases.Conduct(o)); err != nil {
		return exitOf(err)
	}
	if !f.dryRun {
		ui.printf("\nEverything is signed by the new authorities, and nothing trusts the old ones any more.\n" +
			"Hand out admin.conf again to whoever has a copy.\n")
	}
	return nil
}

// sure asks, unless the user has said so, or has before: what is under way is to be
// brought to its end.
func (f rotateFlags) sure(ctx context.Context, ui *ui, o phases.ConductOptions) (bool, error) {
	for _, name := range f.skip {
		ui.warn("node " + name + " takes no part: once the old authorities are dropped, it and the cluster do not trust each other any more")
	}
	if f.yes || f.dryRun {
		return true, nil
	}
	client, err := o.Client()
	if err != nil {
		return false, err
	}
	limited, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	if told, err := phases.AskRotation(limited, client); err == nil && told != nil {
		return true, nil
	}
	return ui.ask(ctx, "a rotation", "Replace "+strings.Join(o.Authorities, ", ")+" on all nodes? Kubeconfigs that were handed out stop working.")
}

// clusterPatience is how long the cluster may take to answer before it is asked in
// earnest.
const clusterPatience = 10 * time.Second

// options are those of this control plane.
func (f rotateFlags) options(ui *ui, names []string) (phases.ConductOptions, error) {
	o := phases.ConductOptions{State: stateDir, PKI: certs.Tree(f.certDir), Skip: f.skip, Timeout: f.timeout, Ignore: f.ignore}
	held := certs.Hold(f.places())
	rotation, err := renewOptions(ui, *f.certsFlags, "")
	if err != nil {
		return o, err
	}
	manifests := rotation.Rollout.Manifests
	api, err := phases.LocalAPIServer(manifests)
	if err != nil {
		return o, err
	}
	if api == nil {
		return o, withCode(exitValidation, hint.With(errors.New("this node is no control plane"), "run it on one"))
	}
	if o.Authorities, err = phases.RotatableAuthorities(names, o.PKI); err != nil {
		return o, withCode(exitValidation, err)
	}
	if o.Node, err = nodeOf(held); err != nil {
		return o, err
	}
	o.Client = func() (kubernetes.Interface, error) { return administrator(f.kubeconfigDir, api) }
	if _, foreign := os.Stat(filepath.Join(manifests, config.ComponentEtcd+".yaml")); foreign == nil {
		o.Members, err = phases.EtcdCluster(phases.EtcdOptions{Manifests: manifests, CertDir: f.certDir})
	}
	return o, err
}

// administrator returns a client of the API server of this node, by the kubeconfig
// as it is now.
func administrator(dir string, api *config.APIEndpoint) (kubernetes.Interface, error) {
	tree := certs.KubeconfigTree(dir)
	path := tree.SuperAdmin
	if _, err := os.Stat(path); err != nil {
		path = tree.Admin
	}
	access, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, err
	}
	access.Host = "https://" + net.JoinHostPort(api.AdvertiseAddress, strconv.Itoa(int(cmp.Or(api.BindPort, config.DefaultBindPort))))
	access.QPS, access.Timeout, access.WarningHandler = -1, clusterPatience, rest.NoWarnings{}
	return kubernetes.NewForConfig(access)
}
