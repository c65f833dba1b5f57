package main

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// topologyKey is the label of nodes that tells them apart.
const topologyKey = "topology.hostpath.csi/node"

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: d.o.name, VendorVersion: "boot"}, nil
}

func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

func (d *driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	can := []csi.PluginCapability_Service_Type{csi.PluginCapability_Service_CONTROLLER_SERVICE}
	if d.o.topology {
		can = append(can, csi.PluginCapability_Service_VOLUME_ACCESSIBILITY_CONSTRAINTS)
	}
	resp := &csi.GetPluginCapabilitiesResponse{}
	for _, c := range can {
		resp.Capabilities = append(resp.Capabilities, &csi.PluginCapability{
			Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: c}},
		})
	}
	return resp, nil
}

// topology is where volumes can be used.
func (d *driver) topology() *csi.Topology {
	if !d.o.topology {
		return nil
	}
	return &csi.Topology{Segments: map[string]string{topologyKey: d.o.node}}
}
