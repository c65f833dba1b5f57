// Package socket answers programs of the same host over gRPC: agents that ask for
// the devices of pods, and those that ask for the pods themselves.
//
// It decides how such a socket comes into being and how often it may be asked.
// What is answered is left to those who serve there. Who may ask is left to the
// permissions of the directory: root.
package socket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What may be asked: this often a second, and as many at once. Both are
// upstream's. Streams are not counted.
const (
	perSecond = 100
	atOnce    = 10
)

// Options are what is served and where.
type Options struct {
	// Path is that of the socket. Its directory is made where there is none; there
	// is but one loop on a host, so a socket that is there already is of one that
	// has ended.
	Path string
	// Register puts the services on the server.
	Register func(grpc.ServiceRegistrar)
	// Unary sees the calls that are not refused for their number, and Stream all
	// streams. Both may be nil.
	Unary  grpc.UnaryServerInterceptor
	Stream grpc.StreamServerInterceptor
}

// Serve answers until ctx ends.
func Serve(ctx context.Context, o Options) error {
	l, err := listen(ctx, o.Path)
	if err != nil {
		return err
	}
	unary := []grpc.UnaryServerInterceptor{limit(rate.NewLimiter(perSecond, atOnce))}
	if o.Unary != nil {
		unary = append(unary, o.Unary)
	}
	options := []grpc.ServerOption{grpc.ChainUnaryInterceptor(unary...)}
	if o.Stream != nil {
		options = append(options, grpc.StreamInterceptor(o.Stream))
	}
	server := grpc.NewServer(options...)
	o.Register(server)
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve %s: %w", o.Path, err)
	}
	return nil
}

// listen makes a socket that gets its name last: whoever finds it is answered.
func listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make directory of socket: %w", err)
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", fresh)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Rename(fresh, path); err != nil {
		return nil, errors.Join(fmt.Errorf("listen at %s: %w", path, err), l.Close())
	}
	return l, nil
}

// limit refuses calls that come too often.
func limit(l *rate.Limiter) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if !l.Allow() {
			return nil, status.Error(codes.ResourceExhausted, "rejected by rate limit")
		}
		return next(ctx, req)
	}
}
