package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"boot.internal/config"
	"boot.internal/etcd"
	"boot.internal/hint"
	"boot.internal/phases"
)

// etcdTimeout bounds what "boot etcd" asks of the members, some of which may be dead.
const etcdTimeout = 30 * time.Second

// etcdFlags say how to reach etcd.
type etcdFlags struct {
	certDir   string
	endpoints []string
}

func newEtcd(ui *ui) *cobra.Command {
	var f etcdFlags
	c := &cobra.Command{
		Use:   "etcd",
		Short: "Look after the cluster's etcd: its members, its disk, snapshots of its data",
		Long: `Look after the etcd that holds the cluster's data: see how its members are and
change who is one, have it give back disk, save snapshots and restore them.

Run it on a control-plane node: it identifies with that node's certificates, and
any member that answers will do.`,
		Example: `  boot etcd status
  boot etcd snapshot save
  boot etcd remove cp3`,
		Args: noArgs,
	}
	p := c.PersistentFlags()
	p.StringVar(&f.certDir, "cert-dir", config.DefaultCertificatesDir, "`directory` of the certificates, where no manifest of etcd names it")
	p.StringSliceVar(&f.endpoints, "endpoints", nil, "client `URLs` of members to ask first; those of this node's manifest if not set")
	_ = c.MarkPersistentFlagDirname("cert-dir")
	c.AddCommand(newEtcdMembers(ui, &f), newEtcdRemove(ui, &f), newEtcdStatus(ui, &f), newEtcdDefrag(ui, &f), newEtcdSnapshot(ui, &f))
	return c
}

// cluster returns a client, which the caller closes.
func (f etcdFlags) cluster() (*etcd.Cluster, error) {
	return phases.EtcdCluster(phases.EtcdOptions{Manifests: config.DefaultManifestsDir, CertDir: f.certDir, Endpoints: f.endpoints})
}

func newEtcdMembers(ui *ui, f *etcdFlags) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "members",
		Short: "List the members of etcd and how they are",
		Example: `  boot etcd members

  # For scripts
  boot etcd members -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runEtcdMembers(c.Context(), ui, *f, output) },
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`format`: json or yaml; a table if not set")
	return c
}

// An etcdMember is a member as it is printed.
type etcdMember struct {
	Name       string   `json:"name"`
	ID         string   `json:"id"`
	Role       string   `json:"role"` // leader, follower or learner
	Healthy    bool     `json:"healthy"`
	Error      string   `json:"error,omitempty"`
	Version    string   `json:"version,omitempty"`
	DBSize     int64    `json:"dbSize,omitempty"` // bytes
	Applied    uint64   `json:"appliedIndex,omitempty"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

func runEtcdMembers(ctx context.Context, ui *ui, f etcdFlags, output string) error {
	statuses, err := f.statuses(ctx, ui)
	if err != nil {
		return err
	}
	var all []etcdMember
	for _, s := range statuses {
		all = append(all, printed(s))
	}
	if output != "" {
		return ui.object(output, all)
	}
	return ui.members(all)
}

// statuses asks every member how it is.
func (f etcdFlags) statuses(ctx context.Context, ui *ui) ([]etcd.Status, error) {
	cluster, err := f.cluster()
	if err != nil {
		return nil, err
	}
	defer func() { _ = cluster.Close() }()
	members, err := listMembers(ctx, ui, cluster)
	if err != nil {
		return nil, err
	}
	return cluster.Statuses(ctx, members), nil
}

// listMembers asks for the members. Without a quorum there is still somebody to
// say who they were.
func listMembers(ctx context.Context, ui *ui, cluster *etcd.Cluster) ([]etcd.Member, error) {
	limited, cancel := context.WithTimeout(ctx, etcdTimeout)
	defer cancel()
	members, err := cluster.Members(limited)
	if err == nil || ctx.Err() != nil {
		return members, err
	}
	limited, cancel = context.WithTimeout(ctx, etcdTimeout)
	defer cancel()
	members, seen := cluster.MembersSeen(limited)
	if seen != nil {
		return nil, hint.With(err, "no member answers: look for etcd's container and its log in /var/log/pods")
	}
	ui.warn("etcd has no quorum: this is what one member knew last")
	return members, nil
}

func printed(s etcd.Status) etcdMember {
	m := etcdMember{
		Name: s.Name, ID: s.HexID(), Role: "follower", Healthy: s.Err == nil, Version: s.Version, DBSize: s.DBSize, Applied: s.Applied,
		PeerURLs: s.PeerURLs, ClientURLs: s.ClientURLs,
	}
	switch {
	case s.Learner:
		m.Role = "learner"
	case s.Leader:
		m.Role = "leader"
	}
	if s.Err != nil {
		m.Error = s.Err.Error()
	}
	return m
}

// members prints a table.
func (u *ui) members(all []etcdMember) error {
	w := tabwriter.NewWriter(u.out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tID\tROLE\tHEALTH\tVERSION\tDB SIZE\tCLIENTS")
	for _, m := range all {
		health := "healthy"
		if !m.Healthy {
			health = m.Error
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", dash(m.Name), m.ID, m.Role, health, dash(m.Version), size(m.DBSize), dash(strings.Join(m.ClientURLs, ",")))
	}
	return w.Flush()
}

// dash stands for what is not known.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// size is a number of bytes as people read it.
func size(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
}
