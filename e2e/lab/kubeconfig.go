package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"boot.internal/atomicfile"
	"boot.internal/e2e/internal/lab"
)

func newKubeconfig(l *lair) *cobra.Command {
	path := false
	c := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print a kubeconfig that works on this machine",
		Long: `Print the kubeconfig of the cluster's administrator. It leads through a port of
this machine's loopback interface to an API server that lives.`,
		Example: `  export KUBECONFIG=$(go run ./e2e/lab kubeconfig --path)`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			data, err := os.ReadFile(l.admin())
			if err != nil {
				return fmt.Errorf("lab %q has no cluster: %w", l.name, err)
			}
			if path {
				data = []byte(l.admin() + "\n")
			}
			_, err = l.out.Write(data)
			return err
		},
	}
	c.Flags().BoolVar(&path, "path", false, "print where it is")
	return c
}

// writeKubeconfig takes the administrator's kubeconfig from a control plane and
// has it lead to the lab's port.
func writeKubeconfig(l *lair, n *lab.Node) error {
	var data []byte
	if err := n.Do(func() (err error) { data, err = os.ReadFile("/etc/kubernetes/admin.conf"); return err }); err != nil {
		return err
	}
	config, err := clientcmd.Load(data)
	if err != nil {
		return err
	}
	place, err := ask[None, Place](l, "Where", None(true))
	if err != nil {
		return err
	}
	for _, c := range config.Clusters {
		// The certificates are of many names, but not of that address.
		c.Server, c.TLSServerName = "https://"+place.API, "kubernetes"
	}
	if data, err = clientcmd.Write(*config); err != nil {
		return err
	}
	return atomicfile.Write(l.admin(), data, 0o600)
}

// newClient returns a client with that kubeconfig.
func newClient(l *lair) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", l.admin())
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// readyTimeout is how long nodes may take to be Ready once they have joined.
const readyTimeout = 2 * time.Minute

// awaitReady waits until all nodes are Ready.
func awaitReady(ctx context.Context, client kubernetes.Interface, nodes []*lab.Node) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		ready, err := readyNodes(ctx, client)
		missing := []string{}
		for _, n := range nodes {
			if !ready[n.Name] {
				missing = append(missing, n.Name)
			}
		}
		if err == nil && len(missing) == 0 {
			return nil
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return fmt.Errorf("not Ready: %v: %w", missing, context.Cause(ctx))
		}
	}
}

// readyNodes tells of every node that the cluster has whether it is Ready.
func readyNodes(ctx context.Context, client kubernetes.Interface) (map[string]bool, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	ready := map[string]bool{}
	for _, n := range list.Items {
		ready[n.Name] = false
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady {
				ready[n.Name] = c.Status == corev1.ConditionTrue
			}
		}
	}
	return ready, nil
}
