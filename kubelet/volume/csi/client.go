package csi

import (
	"context"
	"errors"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
)

// A client is one conversation with a driver.
type client struct {
	csi.NodeClient
	conn *grpc.ClientConn
	can  map[csi.NodeServiceCapability_RPC_Type]bool
}

// dial begins a conversation with a driver, by asking what it can.
func (d *Drivers) dial(ctx context.Context, name string) (*client, error) {
	known, err := d.known(name)
	if err != nil {
		return nil, err
	}
	c, err := connect(known.endpoint)
	if err != nil {
		return nil, err
	}
	if err := c.learn(ctx); err != nil {
		c.close()
		return nil, fmt.Errorf("ask driver %s what it can: %w", name, err)
	}
	return c, nil
}

// known returns a driver that has registered.
func (d *Drivers) known(name string) (driver, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known, ok := d.drivers[name]
	if !ok {
		return driver{}, fmt.Errorf("driver name %s not found in the list of registered CSI drivers", name)
	}
	return known, nil
}

// connect returns a client of whom serves at a socket.
func connect(endpoint string) (*client, error) {
	conn, err := grpc.NewClient("unix://"+endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return nil, fmt.Errorf("dial driver: %w", err)
	}
	return &client{NodeClient: csi.NewNodeClient(conn), conn: conn}, nil
}

func (c *client) close() { _ = c.conn.Close() } // nothing is under way

// learn asks the driver what it can.
func (c *client) learn(ctx context.Context) error {
	resp, err := c.NodeGetCapabilities(ctx, &csi.NodeGetCapabilitiesRequest{})
	if err != nil {
		return err
	}
	c.can = map[csi.NodeServiceCapability_RPC_Type]bool{}
	for _, one := range resp.GetCapabilities() {
		c.can[one.GetRpc().GetType()] = true
	}
	return nil
}

// stages reports whether volumes are staged before they are published.
func (c *client) stages() bool { return c.can[csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME] }

// setsGroup reports whether the driver itself makes a group the owner.
func (c *client) setsGroup() bool { return c.can[csi.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP] }

// accessMode returns the mode in the words of CSI, which has had words for the
// single pod since drivers may say that they know them.
func (c *client) accessMode(mode v1.PersistentVolumeAccessMode) csi.VolumeCapability_AccessMode_Mode {
	exact := c.can[csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER]
	switch {
	case mode == v1.ReadOnlyMany:
		return csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
	case mode == v1.ReadWriteMany:
		return csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	case mode == v1.ReadWriteOnce && exact:
		return csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
	case mode == v1.ReadWriteOncePod && exact:
		return csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
	case mode == v1.ReadWriteOnce, mode == v1.ReadWriteOncePod:
		return csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	default:
		return csi.VolumeCapability_AccessMode_UNKNOWN
	}
}

// capability says how a volume is to be used.
func (c *client) capability(v *volume) *csi.VolumeCapability {
	out := &csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: c.accessMode(v.accessMode)}}
	if v.block {
		out.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
		return out
	}
	mount := &csi.VolumeCapability_MountVolume{FsType: v.fsType, MountFlags: v.mountOptions}
	if group := v.fsGroup(); group != nil && c.setsGroup() {
		mount.VolumeMountGroup = fmt.Sprint(*group)
	}
	out.AccessType = &csi.VolumeCapability_Mount{Mount: mount}
	return out
}

// final reports whether an error is the driver's last word: what it was asked
// for is not being done. Sources: the list of error codes of the CSI spec, and
// what gRPC says of its own.
func final(err error) bool {
	var answer interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.GRPCStatus().Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.ResourceExhausted, codes.Aborted:
		return false
	default:
		return true
	}
}
