package main

import (
	"context"
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// forward joins each connection to the socket with one of the tests, which keep
// some waiting.
func forward(ctx context.Context, socket net.Listener, tests *net.TCPListener) error {
	context.AfterFunc(ctx, func() { _, _ = socket.Close(), tests.Close() })
	for {
		near, err := socket.Accept()
		if err != nil {
			return closed(err)
		}
		far, err := acceptLive(tests)
		if err != nil {
			return closed(err)
		}
		go join(near, far)
	}
}

// closed is the error of a listener, unless it is that it was closed.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// acceptLive returns the first connection that the other side has not given up
// while it waited here.
func acceptLive(l *net.TCPListener) (*net.TCPConn, error) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil || live(conn) {
			return conn, err
		}
		_ = conn.Close()
	}
}

func live(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var info *unix.TCPInfo
	var infoErr error
	err = raw.Control(func(fd uintptr) { info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	return err == nil && infoErr == nil && info.State == unix.BPF_TCP_ESTABLISHED
}

// join copies both ways until either side ends.
func join(near, far net.Conn) {
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // an end, however it comes
			done <- struct{}{}
		}()
	}
	<-done
	_, _ = near.Close(), far.Close()
}
