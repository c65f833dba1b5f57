package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"boot.internal/e2e/internal/lab"
)

// envDriver makes this program a CSI driver of that name.
const envDriver = "BOOT_E2E_CSI_DRIVER"

// A csiDriver is a driver whose volumes are directories of the node. It notes
// what it is asked for.
type csiDriver struct {
	csi.UnimplementedNodeServer
	registration.UnimplementedRegistrationServer
	name string

	mu    sync.Mutex
	calls *os.File
}

func driverDir(name string) string { return filepath.Join("/var/lib", name) }

func driverSocket(name string) string { return "/var/lib/kubelet/plugins/" + name + "/csi.sock" }

func registrationSocket(name string) string {
	return "/var/lib/kubelet/plugins_registry/" + name + "-reg.sock"
}

// driveCSI serves until it is asked to stop.
func driveCSI(name string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for _, dir := range []string{driverDir(name), filepath.Dir(driverSocket(name)), filepath.Dir(registrationSocket(name))} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	calls, err := os.OpenFile(filepath.Join(driverDir(name), "calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	d := &csiDriver{name: name, calls: calls}
	s := grpc.NewServer(grpc.UnaryInterceptor(d.note))
	csi.RegisterNodeServer(s, d)
	registration.RegisterRegistrationServer(s, d)
	for _, path := range []string{driverSocket(name), registrationSocket(name)} {
		_ = os.Remove(path) // of before
		l, err := net.Listen("unix", path)
		if err != nil {
			return err
		}
		go func() { _ = s.Serve(l) }()
	}
	<-ctx.Done()
	s.Stop()
	return nil
}

// note writes a call down once it has been answered.
func (d *csiDriver) note(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	resp, err := handle(ctx, req)
	line := map[string]any{"method": filepath.Base(info.FullMethod)}
	if m, ok := req.(proto.Message); ok {
		data, _ := protojson.Marshal(m)
		line["request"] = json.RawMessage(data)
	}
	if err != nil {
		line["error"] = err.Error()
	}
	data, _ := json.Marshal(line)
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _ = d.calls.Write(append(data, '\n'))
	return resp, err
}

func (d *csiDriver) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: d.name, Endpoint: driverSocket(d.name), SupportedVersions: []string{"1.0.0"}}, nil
}

func (d *csiDriver) NotifyRegistrationStatus(context.Context, *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	return &registration.RegistrationStatusResponse{}, nil
}

func (d *csiDriver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{
		NodeId: "id-of-" + d.name, MaxVolumesPerNode: limitOf(d.name),
		AccessibleTopology: &csi.Topology{Segments: map[string]string{d.name + "/zone": "z1"}},
	}, nil
}

func (d *csiDriver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	resp := &csi.NodeGetCapabilitiesResponse{}
	for _, can := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME, csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
	} {
		resp.Capabilities = append(resp.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: can}},
		})
	}
	return resp, nil
}

func (d *csiDriver) NodeStageVolume(_ context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	if r.VolumeCapability.GetBlock() != nil {
		return &csi.NodeStageVolumeResponse{}, nil
	}
	data := filepath.Join(driverDir(d.name), r.VolumeId)
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	return &csi.NodeStageVolumeResponse{}, bindOnce(data, r.StagingTargetPath)
}

func (d *csiDriver) NodePublishVolume(_ context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	if r.VolumeCapability.GetBlock() != nil {
		if err := os.WriteFile(r.TargetPath, nil, 0o600); err != nil {
			return nil, err
		}
		return &csi.NodePublishVolumeResponse{}, bindOnce("/dev/loop0", r.TargetPath)
	}
	if err := os.MkdirAll(r.TargetPath, 0o755); err != nil {
		return nil, err
	}
	if r.StagingTargetPath == "" {
		return &csi.NodePublishVolumeResponse{}, unix.Mount("tmpfs", r.TargetPath, "tmpfs", 0, "mode=755")
	}
	return &csi.NodePublishVolumeResponse{}, bindOnce(r.StagingTargetPath, r.TargetPath)
}

func (d *csiDriver) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	return &csi.NodeUnpublishVolumeResponse{}, errors.Join(unbind(r.TargetPath), ignoreMissing(os.Remove(r.TargetPath)))
}

func (d *csiDriver) NodeUnstageVolume(_ context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	return &csi.NodeUnstageVolumeResponse{}, unbind(r.StagingTargetPath)
}

func (d *csiDriver) NodeExpandVolume(_ context.Context, r *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	return &csi.NodeExpandVolumeResponse{CapacityBytes: r.CapacityRange.GetRequiredBytes()}, nil
}

func (d *csiDriver) NodeGetVolumeStats(context.Context, *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		{Unit: csi.VolumeUsage_BYTES, Total: 1000, Used: 300, Available: 700},
		{Unit: csi.VolumeUsage_INODES, Total: 10, Used: 3, Available: 7},
	}}, nil
}

// bindOnce mounts one path at another unless something is mounted there.
func bindOnce(from, to string) error {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, to, unix.AT_SYMLINK_NOFOLLOW, 0, &st); err != nil {
		return err
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return nil
	}
	return unix.Mount(from, to, "", unix.MS_BIND, "")
}

func unbind(path string) error {
	if err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// A driverProcess is a CSI driver that runs on the node, as the test sees it.
type driverProcess struct {
	node *lab.Node
	name string
}

// startDriver starts a driver on the node. The func that is returned ends it.
func startDriver(t *testing.T, n *lab.Node, name string) (driverProcess, func()) {
	t.Helper()
	cmd := n.Command(context.WithoutCancel(t.Context()), os.Args[0])
	if self, err := os.Executable(); err == nil {
		cmd = n.Command(context.WithoutCancel(t.Context()), self)
	}
	cmd.Env = append(cmd.Env, envDriver+"="+name)
	cmd.Stderr = os.Stderr
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	t.Cleanup(stop)
	return driverProcess{n, name}, stop
}

// A driverCall is one call that a driver has answered.
type driverCall struct {
	Method  string
	Request map[string]any
	Error   string
}

// calls returns the calls of the driver that are about a volume, and those of
// the methods.
func (d driverProcess) calls(t *testing.T, volume string, methods ...string) []driverCall {
	t.Helper()
	path := filepath.Join(driverDir(d.name), "calls")
	if !d.node.Exists(t, path) {
		return nil
	}
	var all []driverCall
	for line := range strings.Lines(d.node.ReadFile(t, path)) {
		if !strings.HasSuffix(line, "\n") { // it is being written
			break
		}
		var c driverCall
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatalf("read %s: %v", line, err)
		}
		if id, _ := c.Request["volumeId"].(string); id == volume && (len(methods) == 0 || strings.Contains(strings.Join(methods, " "), c.Method)) {
			all = append(all, c)
		}
	}
	return all
}

// await waits until the driver was called, for a volume, for just these methods,
// repetitions aside.
func (d driverProcess) await(t *testing.T, volume string, want ...string) {
	t.Helper()
	lab.Until(t, patience, "see calls of driver "+d.name, func(context.Context) error {
		var got []string
		for _, c := range d.calls(t, volume) {
			if c.Method == "NodeGetVolumeStats" || len(got) > 0 && got[len(got)-1] == c.Method {
				continue
			}
			got = append(got, c.Method)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			return fmt.Errorf("called %v, want %v", got, want)
		}
		return nil
	})
}
