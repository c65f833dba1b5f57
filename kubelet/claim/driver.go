package claim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcstats "google.golang.org/grpc/stats"
	drahealth "k8s.io/kubelet/pkg/apis/dra-health/v1"
	drahealthv1alpha1 "k8s.io/kubelet/pkg/apis/dra-health/v1alpha1"
	dra "k8s.io/kubelet/pkg/apis/dra/v1"
	drav1beta1 "k8s.io/kubelet/pkg/apis/dra/v1beta1"

	"boot.internal/kubelet/plugin"
)

// Drivers are those that registered, by name.
type drivers struct {
	mu    sync.Mutex // guards what follows, and instance.connected
	all   map[string][]*instance
	wipes map[string]context.CancelFunc // what is to be said of drivers that are away
}

// An instance is one program of a driver. While a driver is replaced by a newer
// version of it there are two (KEP-4381, rolling update).
type instance struct {
	k         *Keeper
	driver    string
	endpoint  string
	service   string // that it serves
	health    string // the service that tells of health, "" if there is none
	conn      *grpc.ClientConn
	connected bool
	stop      context.CancelFunc // ends what goes on for it
}

// services and healthServices are what is spoken here, the newest first.
func services() []string { return []string{dra.DRAPluginService, drav1beta1.DRAPluginService} }

func healthServices() []string {
	return []string{drahealth.DRAResourceHealthService, drahealthv1alpha1.DRAResourceHealthService}
}

// Validate refuses a driver that serves nothing that is spoken here.
func (k *Keeper) Validate(_ context.Context, p plugin.Plugin) error {
	_, err := serviceOf(p)
	return err
}

// serviceOf returns the first service of a driver that is spoken here.
func serviceOf(p plugin.Plugin) (string, error) {
	for _, s := range p.Versions {
		if slices.Contains(services(), s) {
			return s, nil
		}
	}
	err := errors.New("empty list of supported gRPC services (aka supported versions)")
	if len(p.Versions) > 0 {
		err = fmt.Errorf("none of services supported by the plugin (%q) are supported by the kubelet (%q)", p.Versions, services())
	}
	return "", fmt.Errorf("invalid supported gRPC versions of DRA driver plugin %s at endpoint %s: %w", p.Name, p.Endpoint, err)
}

// Register takes an instance of a driver in. From then on it is known whether it
// can be reached.
func (k *Keeper) Register(_ context.Context, p plugin.Plugin) error {
	service, err := serviceOf(p)
	if err != nil {
		return err
	}
	i := &instance{k: k, driver: p.Name, endpoint: p.Endpoint, service: service}
	for _, s := range slices.Backward(healthServices()) {
		if slices.Contains(p.Versions, s) {
			i.health = s
		}
	}
	if i.conn, err = i.dial(); err != nil {
		return fmt.Errorf("create gRPC connection to DRA driver %s plugin at endpoint %s: %w", p.Name, p.Endpoint, err)
	}
	ctx, cancel := context.WithCancel(k.life)
	i.stop = cancel
	if err := k.drivers.add(i); err != nil {
		cancel()
		return errors.Join(err, i.conn.Close())
	}
	k.note(p.Name)   //nolint:contextcheck // what it begins goes on after the call
	i.conn.Connect() // nobody has to call it for us to know that it is there
	if i.health != "" {
		go i.followHealth(ctx) //nolint:contextcheck // as long as the driver is registered
	}
	k.arrived()
	return nil
}

// dial makes a connection that is never idle, so that it tells when the driver goes.
func (i *instance) dial() (*grpc.ClientConn, error) {
	return grpc.NewClient("unix:"+i.endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(), grpc.WithIdleTimeout(0),
		grpc.WithChainUnaryInterceptor(i.k.figures.interceptor(i.driver)), grpc.WithStatsHandler(i))
}

// Deregister forgets an instance of a driver.
func (k *Keeper) Deregister(ctx context.Context, p plugin.Plugin) {
	i := k.drivers.remove(p.Name, p.Endpoint)
	if i == nil {
		return
	}
	i.stop()
	k.note(p.Name) //nolint:contextcheck // what it begins goes on after the call
	if err := i.conn.Close(); err != nil {
		k.o.Log.LogAttrs(ctx, slog.LevelWarn, "hang up on DRA driver", slog.String("driver", p.Name), slog.Any("err", err))
	}
}

// add adds an instance, unless another has its socket.
func (d *drivers) add(i *instance) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.find(i.driver, i.endpoint) >= 0 {
		return fmt.Errorf("endpoint %s already registered for DRA driver plugin %s", i.endpoint, i.driver)
	}
	if d.all == nil {
		d.all = map[string][]*instance{}
	}
	d.all[i.driver] = append(d.all[i.driver], i)
	return nil
}

// remove returns the instance that it removed, nil if there was none.
func (d *drivers) remove(driver, endpoint string) *instance {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.find(driver, endpoint)
	if n < 0 {
		return nil
	}
	i := d.all[driver][n]
	d.all[driver] = slices.Delete(d.all[driver], n, n+1)
	if len(d.all[driver]) == 0 {
		delete(d.all, driver)
	}
	return i
}

func (d *drivers) find(driver, endpoint string) int {
	return slices.IndexFunc(d.all[driver], func(i *instance) bool { return i.endpoint == endpoint })
}

// get returns the instance of a driver to be called: the newest of those that can
// be reached, or else the newest.
func (d *drivers) get(driver string) (*instance, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.all[driver]
	for _, i := range slices.Backward(all) {
		if i.connected {
			return i, nil
		}
	}
	if len(all) > 0 {
		return all[len(all)-1], nil
	}
	return nil, fmt.Errorf("DRA driver %s is not registered", driver)
}

// usable reports whether a driver can be reached. mu must be held.
func (d *drivers) usable(driver string) bool {
	return slices.ContainsFunc(d.all[driver], func(i *instance) bool { return i.connected })
}

// hangUp ends all connections.
func (k *Keeper) hangUp() {
	k.drivers.mu.Lock()
	var all []*instance
	for _, list := range k.drivers.all {
		all = append(all, list...)
	}
	k.drivers.mu.Unlock()
	for _, i := range all {
		_ = i.conn.Close() // nothing is said over it any more
	}
}

// HandleConn notes that the connection came or went. gRPC waits for it, so what
// gRPC is asked in return is asked beside it.
func (i *instance) HandleConn(_ context.Context, s grpcstats.ConnStats) {
	begins := false
	switch s.(type) {
	case *grpcstats.ConnBegin:
		begins = true
	case *grpcstats.ConnEnd:
		go i.conn.Connect() // it would not try again by itself
	default:
		return
	}
	if i.k.life.Err() != nil {
		return
	}
	i.k.drivers.mu.Lock()
	i.connected = begins
	i.k.drivers.mu.Unlock()
	i.k.note(i.driver) //nolint:contextcheck // a connection is not of a call
	if begins {
		i.k.arrived()
	}
}

// TagConn implements stats.Handler.
func (i *instance) TagConn(ctx context.Context, _ *grpcstats.ConnTagInfo) context.Context { return ctx }

// TagRPC implements stats.Handler.
func (i *instance) TagRPC(ctx context.Context, _ *grpcstats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (i *instance) HandleRPC(context.Context, grpcstats.RPCStats) {}
