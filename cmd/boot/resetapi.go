package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/phases"
)

// serverPatience is how long an API server may take to take a connection.
const serverPatience = 2 * time.Second

// resetAPI is how a node that leaves its cluster talks to it.
type resetAPI struct {
	kubeconfig string // --kubeconfig
	dirs       phases.ResetDirs
	servers    []string // "host:port", known from the start
}

// client implements phases.Leave.
func (a resetAPI) client(away bool) (kubernetes.Interface, error) {
	path, err := a.path(away)
	if err != nil {
		return nil, err
	}
	access, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	access.QPS = -1 // nobody else is there to be fair to
	if away {
		if err := a.elsewhere(access); err != nil {
			return nil, err
		}
	}
	return kubernetes.NewForConfig(access)
}

// path returns the kubeconfig to use: the user's, that of the administrator for
// what a node may not do, and else the node's.
func (a resetAPI) path(away bool) (string, error) {
	tree := certs.KubeconfigTree(a.dirs.Kubernetes)
	all := []string{tree.Kubelet}
	if away {
		all = []string{tree.SuperAdmin, tree.Admin, tree.Kubelet}
	}
	if a.kubeconfig != "" {
		// It is only of use while this host is a node.
		if _, err := os.Stat(tree.Kubelet); err != nil {
			return "", err
		}
		return a.kubeconfig, nil
	}
	i := slices.IndexFunc(all, func(path string) bool { _, err := os.Stat(path); return err == nil })
	if i < 0 {
		return "", fs.ErrNotExist
	}
	return all[i], nil
}

// elsewhere has access lead to an API server that is not on this host: this one's
// has no cluster any more, and the port that leads to others goes with the loop.
func (a resetAPI) elsewhere(access *rest.Config) error {
	u, err := url.Parse(access.Host)
	if err != nil || !here(u.Host) {
		return err
	}
	for _, server := range a.known() {
		if here(server) {
			continue
		}
		conn, err := net.DialTimeout("tcp", server, serverPatience)
		if err != nil {
			continue
		}
		_ = conn.Close()
		access.Host, access.ServerName = "https://"+server, config.LocalAPIName
		return nil
	}
	return errors.New("no API server but this host's is known to be there")
}

// known returns the API servers that the loop has learned of, and those it was
// told.
func (a resetAPI) known() []string {
	var record struct {
		Servers []struct {
			Address string `json:"address"`
		} `json:"servers"`
	}
	data, err := os.ReadFile(filepath.Join(a.dirs.State, "apiservers.json"))
	if err == nil {
		_ = json.Unmarshal(data, &record) // what cannot be read tells nothing
	}
	var all []string
	for _, s := range record.Servers {
		all = append(all, s.Address)
	}
	return append(all, a.servers...)
}

// here says whether a host and port are on this host.
func here(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	own, err := net.InterfaceAddrs()
	return ip.IsLoopback() || err == nil && slices.ContainsFunc(own, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == ip.Unmap()
	})
}
