package flannel

import (
	"encoding/json"
	"net"
	"net/netip"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// The annotations of a Node, by which flannel's nodes know each other.
const (
	annotationPrefix  = "flannel.alpha.coreos.com/"
	annotationManaged = annotationPrefix + "kube-subnet-manager"
	annotationBackend = annotationPrefix + "backend-type"
	annotationData    = annotationPrefix + "backend-data"
	annotationDataV6  = annotationPrefix + "backend-v6-data"
	annotationIP      = annotationPrefix + "public-ip"
	annotationIPv6    = annotationPrefix + "public-ipv6"
	// By these a user says that others reach the node by another address.
	annotationSay   = annotationPrefix + "public-ip-overwrite"
	annotationSayV6 = annotationPrefix + "public-ipv6-overwrite"
)

// A peer is a node as it describes itself.
type peer struct {
	node    string
	backend Backend
	cidrs   []netip.Prefix
	v4, v6  endpoint
}

// An endpoint is where packets for a node go, for one family of pods. The
// families have different ones, as their tunnels do.
type endpoint struct {
	addr netip.Addr // invalid: there is none
	mac  string     // of the far end of the tunnel; "" if there is none
}

func (p peer) endpoint(six bool) endpoint {
	if six {
		return p.v6
	}
	return p.v4
}

// tunnelData is what a node says of its end of a tunnel.
type tunnelData struct {
	VNI     int    `json:"VNI"`
	VtepMAC string `json:"VtepMAC"`
}

// peerOf reads what a node says of itself; false if it says nothing.
func peerOf(n *v1.Node) (peer, bool) {
	if n.Annotations[annotationManaged] != "true" {
		return peer{}, false
	}
	p := peer{
		node: n.Name, backend: Backend(n.Annotations[annotationBackend]),
		v4: endpointOf(n.Annotations[annotationIP], n.Annotations[annotationData]),
		v6: endpointOf(n.Annotations[annotationIPv6], n.Annotations[annotationDataV6]),
	}
	for _, text := range n.Spec.PodCIDRs {
		if c, err := netip.ParsePrefix(text); err == nil {
			p.cidrs = append(p.cidrs, c.Masked())
		}
	}
	return p, true
}

func endpointOf(ip, data string) (e endpoint) {
	var err error
	if e.addr, err = netip.ParseAddr(ip); err != nil {
		return endpoint{}
	}
	var d tunnelData
	if json.Unmarshal([]byte(data), &d) == nil {
		if mac, err := net.ParseMAC(d.VtepMAC); err == nil {
			e.mac = mac.String()
		}
	}
	return e
}

// announced returns the annotations of flannel's that a node is to have,
// beside those of a user.
func (p peer) announced(now map[string]string) map[string]string {
	out := map[string]string{annotationManaged: "true", annotationBackend: string(p.backend)}
	for _, f := range []struct {
		endpoint
		ip, say, data string
	}{{p.v4, annotationIP, annotationSay, annotationData}, {p.v6, annotationIPv6, annotationSayV6, annotationDataV6}} {
		if !f.addr.IsValid() {
			continue
		}
		out[f.ip], out[f.data] = f.addr.String(), "null"
		if say, err := netip.ParseAddr(now[f.say]); err == nil {
			out[f.ip] = say.String()
		}
		if f.mac != "" {
			data, _ := json.Marshal(tunnelData{vni, f.mac}) // of two plain values: cannot fail
			out[f.data] = string(data)
		}
	}
	return out
}

// announcement returns the merge patch that makes the annotations of a node
// those that are wanted, nil if they are.
func announcement(now, want map[string]string) ([]byte, error) {
	change := map[string]*string{}
	for key, value := range want {
		if have, ok := now[key]; !ok || have != value {
			change[key] = &value
		}
	}
	for key := range now {
		_, wanted := want[key]
		if strings.HasPrefix(key, annotationPrefix) && !wanted && key != annotationSay && key != annotationSayV6 {
			change[key] = nil
		}
	}
	if len(change) == 0 {
		return nil, nil
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"annotations": change}})
}
