package network

import (
	"encoding/json"
	"fmt"
)

// The CNI configuration as far as we have something to say.
type (
	netConfList struct {
		CNIVersion string `json:"cniVersion"`
		Name       string `json:"name"`
		Plugins    []any  `json:"plugins"`
	}
	bridgeConf struct {
		Type             string `json:"type"`
		Bridge           string `json:"bridge"`
		IsGateway        bool   `json:"isGateway"`
		IsDefaultGateway bool   `json:"isDefaultGateway"`
		ForceAddress     bool   `json:"forceAddress"`
		HairpinMode      bool   `json:"hairpinMode"`
		IPMasq           bool   `json:"ipMasq"`
		MTU              int    `json:"mtu,omitempty"`
		IPAM             ipam   `json:"ipam"`
	}
	ipam struct {
		Type    string          `json:"type"`
		Ranges  [][]subnetRange `json:"ranges"`
		DataDir string          `json:"dataDir"`
	}
	subnetRange struct {
		Subnet string `json:"subnet"`
	}
	portmapConf struct {
		Type         string          `json:"type"`
		Backend      Backend         `json:"backend"`
		Capabilities map[string]bool `json:"capabilities"`
	}
)

// conflist spells the network for the engine. The bridge does not masquerade:
// its plugin would run a firewall program twice for each pod, where one rule
// for the whole range, made once, does as well. ForceAddress lets the bridge
// follow when the node's range changes.
func conflist(o Options) ([]byte, error) {
	var ranges [][]subnetRange
	for _, p := range o.PodCIDRs {
		ranges = append(ranges, []subnetRange{{Subnet: p.String()}})
	}
	list := netConfList{CNIVersion: "1.0.0", Name: Name, Plugins: []any{bridgeConf{
		Type: "bridge", Bridge: Bridge,
		IsGateway: true, IsDefaultGateway: true, ForceAddress: true, HairpinMode: true, MTU: o.MTU,
		IPAM: ipam{Type: "host-local", Ranges: ranges, DataDir: o.StateDir},
	}}}
	if o.Backend != None {
		list.Plugins = append(list.Plugins, portmapConf{
			Type: "portmap", Backend: o.Backend, Capabilities: map[string]bool{"portMappings": true},
		})
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("render the CNI configuration: %w", err)
	}
	return append(data, '\n'), nil
}
