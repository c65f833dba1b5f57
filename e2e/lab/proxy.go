package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// dialTimeout is how long an API server may take to accept a connection before
// the next one is tried.
const dialTimeout = time.Second

// proxy takes connections to the API servers, and hands each to one that lives.
func (k *Keeper) proxy(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // it goes with the process
		}
		go func() {
			server, err := k.dialAPI()
			if err != nil {
				_ = conn.Close() // that is all that can be said
				return
			}
			join(conn, server)
		}()
	}
}

// dialAPI connects to the first API server that accepts.
func (k *Keeper) dialAPI() (conn net.Conn, err error) {
	k.mu.Lock()
	var all []*kept
	for _, name := range k.order {
		if n := k.nodes[name]; n.role == controlPlane {
			all = append(all, n)
		}
	}
	k.mu.Unlock()
	err = errors.New("there is no control plane")
	for _, n := range all {
		ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
		conn, err = n.Dial(ctx, "tcp", net.JoinHostPort(n.IP.String(), "6443"))
		cancel()
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// join passes on what either end says, until both have ended.
func join(a, b net.Conn) {
	var group sync.WaitGroup
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // the other end is told by the end of it
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
	group.Go(func() { pass(a, b) })
	group.Go(func() { pass(b, a) })
	group.Wait()
	_ = a.Close()
	_ = b.Close()
}
