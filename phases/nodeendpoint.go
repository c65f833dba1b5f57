package phases

import (
	"net"
	"strconv"

	"boot.internal/config"
)

// An endpoint is where the kubelet, and with it kube-proxy, of a node reaches the
// API, and under which name if it is another than that of the URL.
type endpoint struct{ server, serverName string }

// balanced says whether the node chooses among the API servers by itself. It does
// not where somebody else does: behind an endpoint that all of them share.
func balanced(cfg *config.Init) bool { return cfg.Cluster.ControlPlaneEndpoint == "" }

// nodeEndpoint is that of a node that does.
func nodeEndpoint(cfg *config.Init) endpoint {
	return endpoint{config.LocalAPI(cfg.Init.LocalAPIEndpoint.AdvertiseAddress), config.LocalAPIName}
}

// initEndpoint is that of the first node. Behind a shared endpoint there may be
// nothing yet: there the node uses its own API server, as kubeadm's do.
func initEndpoint(cfg *config.Init) endpoint {
	if balanced(cfg) {
		return nodeEndpoint(cfg)
	}
	return endpoint{localURL(cfg), ""}
}

// ownServer is this node's own API server among those to choose from.
func ownServer(cfg *config.Init) []string {
	if !balanced(cfg) {
		return nil
	}
	local := cfg.Init.LocalAPIEndpoint
	return []string{net.JoinHostPort(local.AdvertiseAddress, strconv.Itoa(int(local.BindPort)))}
}
