package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
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

// dialAPI connects to the first API server that is ready, or, where none is, to
// the first that accepts: it knows best what is wrong.
func (k *Keeper) dialAPI() (conn net.Conn, err error) {
	err = errors.New("there is no control plane")
	for _, asked := range []bool{true, false} {
		for _, n := range k.controlPlanes() {
			if asked && !n.ready() {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
			conn, err = n.Dial(ctx, "tcp", n.api())
			cancel()
			if err == nil {
				return conn, nil
			}
		}
	}
	return nil, err
}

// controlPlanes returns them in the order in which they were made.
func (k *Keeper) controlPlanes() []*kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []*kept
	for _, name := range k.order {
		if n := k.nodes[name]; n.role == controlPlane {
			all = append(all, n)
		}
	}
	return all
}

// api is where the API server of a node listens.
func (n *kept) api() string { return net.JoinHostPort(n.IP.String(), "6443") }

// ready asks the API server of a node whether it is ready.
func (n *kept) ready() bool {
	client := &http.Client{Timeout: dialTimeout, Transport: &http.Transport{
		DialContext: n.Dial, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // nothing is told, and nothing believed that matters
	}}
	resp, err := client.Get("https://" + n.api() + "/readyz") //nolint:noctx // it has its time
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // the code says it
	return resp.StatusCode == http.StatusOK
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
