package device

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"boot.internal/kubelet/plugin"
)

// An endpoint is a plugin that serves one resource.
type endpoint struct {
	conn    *grpc.ClientConn
	client  api.DevicePluginClient
	options *api.DevicePluginOptions
}

const rpcTimeout = 30 * time.Second

// Run takes registrations until ctx ends. Sockets of before are removed: their
// plugins register again when they see that.
func (l *Lender) Run(ctx context.Context) error {
	if err := l.sweep(); err != nil {
		return err
	}
	socket, err := new(net.ListenConfig).Listen(ctx, "unix", filepath.Join(l.o.Dir, "kubelet.sock"))
	if err != nil {
		return fmt.Errorf("listen for device plugins: %w", err)
	}
	server := grpc.NewServer()
	api.RegisterRegistrationServer(server, registrar{lender: l, ctx: ctx})
	context.AfterFunc(ctx, server.Stop)
	defer l.life.Wait()
	if err := server.Serve(socket); err != nil && ctx.Err() == nil {
		return fmt.Errorf("listen for device plugins: %w", err)
	}
	return nil
}

// sweep makes the directory, and removes the sockets in it.
func (l *Lender) sweep() error {
	if err := os.MkdirAll(l.o.Dir, 0o750); err != nil {
		return fmt.Errorf("make directory of device plugins: %w", err)
	}
	entries, err := os.ReadDir(l.o.Dir)
	if err != nil {
		return fmt.Errorf("read directory of device plugins: %w", err)
	}
	for _, e := range entries {
		if e.Type()&fs.ModeSocket == 0 {
			continue
		}
		if err := os.Remove(filepath.Join(l.o.Dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove socket of device plugin: %w", err)
		}
	}
	return nil
}

// A registrar takes registrations at kubelet.sock.
type registrar struct {
	api.UnimplementedRegistrationServer
	lender *Lender
	ctx    context.Context //nolint:containedctx // of Run: plugins are followed beyond their call
}

// Register follows a plugin from now on.
func (r registrar) Register(_ context.Context, in *api.RegisterRequest) (*api.Empty, error) {
	if !slices.Contains(api.SupportedVersions[:], in.Version) {
		return nil, fmt.Errorf("requested API version %q is not supported by kubelet. Supported versions are %q", in.Version, api.SupportedVersions)
	}
	socket := filepath.Join(r.lender.o.Dir, in.Endpoint)
	if err := r.lender.connect(r.ctx, in.ResourceName, socket); err != nil { //nolint:contextcheck // followed beyond this call
		return nil, err
	}
	return &api.Empty{}, nil
}

// Validate refuses plugins that speak another version, or offer what is no
// extended resource.
func (l *Lender) Validate(_ context.Context, p plugin.Plugin) error {
	if !slices.ContainsFunc(p.Versions, func(v string) bool { return slices.Contains(api.SupportedVersions[:], v) }) {
		return fmt.Errorf("device plugin %s speaks %v, not %v", p.Name, p.Versions, api.SupportedVersions)
	}
	return checkName(p.Name)
}

// Register takes in a plugin that was found by its registration socket. It is
// followed until ctx ends.
func (l *Lender) Register(ctx context.Context, p plugin.Plugin) error {
	return l.connect(ctx, p.Name, p.Endpoint)
}

// Deregister lets go of a plugin whose socket is gone.
func (l *Lender) Deregister(ctx context.Context, p plugin.Plugin) {
	if e, err := l.pluginOf(p.Name); err == nil {
		_ = e.conn.Close() // nobody is asked any more
		l.leave(ctx, p.Name, e)
	}
}

func checkName(name string) error {
	domain, _, found := strings.Cut(name, "/")
	if !found || domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io") || strings.HasPrefix(name, "requests.") {
		return fmt.Errorf("the ResourceName %q is invalid", name)
	}
	return nil
}

// connect dials a plugin and follows its devices until it or ctx ends.
func (l *Lender) connect(ctx context.Context, name, socket string) error {
	if err := checkName(name); err != nil {
		return err
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		return fmt.Errorf("dial device plugin: %w", err)
	}
	e := &endpoint{conn: conn, client: api.NewDevicePluginClient(conn)}
	soon, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	if e.options, err = e.client.GetDevicePluginOptions(soon, &api.Empty{}); err != nil {
		err = fmt.Errorf("failed to get device plugin options: %w", err) // the words of upstream: they are for the plugin
		return errors.Join(err, conn.Close())
	}
	stream, err := e.client.ListAndWatch(ctx, &api.Empty{})
	if err != nil {
		return errors.Join(fmt.Errorf("follow devices of %s: %w", name, err), conn.Close())
	}
	l.life.Go(func() { l.follow(ctx, name, e, stream) })
	return nil
}

// follow notes the devices of a plugin until it goes away.
func (l *Lender) follow(ctx context.Context, name string, e *endpoint, stream grpc.ServerStreamingClient[api.ListAndWatchResponse]) {
	defer func() { _ = e.conn.Close() }() // it is gone already
	for {
		all, err := stream.Recv()
		if ctx.Err() != nil { // the end of boot says nothing of the plugin
			return
		}
		if err != nil {
			l.o.Log.LogAttrs(ctx, slog.LevelWarn, "device plugin is gone", slog.String("resource", name), slog.Any("err", err))
			l.leave(ctx, name, e)
			return
		}
		l.note(name, e, all.Devices)
	}
}

// note takes over the devices that a plugin tells of.
func (l *Lender) note(name string, e *endpoint, devices []*api.Device) {
	l.mu.Lock()
	p := l.all[name]
	if p == nil {
		p = &pool{}
		l.all[name] = p
	}
	p.use(e)
	p.devices = map[string]*api.Device{}
	for _, d := range devices {
		p.devices[d.ID] = d
	}
	for to, what := range l.lent {
		if to.resource == name && what.within(p.healthy()) {
			what.unproven = false
		}
	}
	l.save()
	l.mu.Unlock()
	l.o.Changed()
}

// use has a plugin asked from now on.
func (p *pool) use(e *endpoint) {
	if p.plugin != nil && p.plugin != e {
		p.others = append(p.others, p.plugin)
	}
	p.plugin, p.others = e, slices.DeleteFunc(p.others, func(is *endpoint) bool { return is == e })
}

// drop notes that a plugin is gone, and reports whether that leaves none.
func (p *pool) drop(e *endpoint) (last bool) {
	if p.plugin != e {
		p.others = slices.DeleteFunc(p.others, func(is *endpoint) bool { return is == e })
		return false
	}
	if n := len(p.others); n > 0 {
		p.plugin, p.others = p.others[n-1], p.others[:n-1]
		return false
	}
	p.plugin = nil
	return true
}

// leave notes that a plugin is gone, unless another serves its resource. Its
// devices do not work; after a while they are none of the node's. Of one that never
// told of any the node has none, and says so.
func (l *Lender) leave(ctx context.Context, name string, e *endpoint) {
	l.mu.Lock()
	p := l.all[name]
	if p == nil {
		p = &pool{plugin: e}
		l.all[name] = p
	}
	if !p.drop(e) {
		l.mu.Unlock()
		l.o.Changed() // another is asked from now on
		return
	}
	p.gone = time.Now()
	for id, d := range p.devices {
		p.devices[id] = &api.Device{ID: id, Health: api.Unhealthy, Topology: d.Topology}
	}
	l.save()
	l.mu.Unlock()
	l.o.Changed()
	forget := time.AfterFunc(forgotten, l.o.Changed)
	context.AfterFunc(ctx, func() { forget.Stop() })
}

func encode(r *api.ContainerAllocateResponse) ([]byte, error) { return proto.Marshal(r) }

func decode(data []byte) (*api.ContainerAllocateResponse, error) {
	r := &api.ContainerAllocateResponse{}
	return r, proto.Unmarshal(data, r)
}
