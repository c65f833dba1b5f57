package service

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// notify is the receiving end of sd_notify(3): the loop says that it is ready
// in the same words whoever runs it.
type notify struct {
	path  string
	conn  *net.UnixConn
	ready chan int      // pid of a process that says it is ready
	done  chan struct{} // closed when read has returned
}

func listenNotify(path string) (*notify, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("listen for readiness: %w", err)
	}
	// One left by a killed supervisor; ours is the only one that runs.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen for readiness: %w", err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen for readiness: %w", err)
	}
	if err := errors.Join(os.Chmod(path, 0o600), passCredentials(conn)); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for readiness: %w", err), conn.Close())
	}
	n := &notify{path: path, conn: conn, ready: make(chan int, 1), done: make(chan struct{})}
	go n.read()
	return n, nil
}

// passCredentials has the kernel say who sent each message.
func passCredentials(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	})
	return errors.Join(err, set)
}

// read passes readiness on until the socket is closed. Of several messages that
// nobody has asked for yet, the last counts.
func (n *notify) read() {
	defer close(n.done)
	text, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		size, oobSize, _, _, err := n.conn.ReadMsgUnix(text, oob)
		if err != nil {
			return
		}
		pid, err := sender(oob[:oobSize])
		if err != nil || !saysReady(string(text[:size])) {
			continue
		}
		select {
		case <-n.ready:
		default:
		}
		n.ready <- pid // room is there: nobody else sends
	}
}

func sender(oob []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, err
	}
	for _, m := range messages {
		if cred, err := unix.ParseUnixCredentials(&m); err == nil {
			return int(cred.Pid), nil
		}
	}
	return 0, errors.New("a message without sender")
}

func saysReady(text string) bool {
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == daemon.SdNotifyReady {
			return true
		}
	}
	return false
}

func (n *notify) close() {
	_ = n.conn.Close()
	<-n.done
	_ = os.Remove(n.path)
}
