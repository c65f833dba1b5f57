package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
	corev1 "k8s.io/api/core/v1"

	"boot.internal/e2e/internal/lab"
)

// A logind is one that a test speaks for, on the system bus of a node.
type logind struct {
	conn  *dbus.Conn
	locks chan lock
}

// A lock keeps the machine from going down until boot closes its copy.
type lock struct{ mine, theirs *os.File }

// Names of logind on the bus.
const (
	logindName  = "org.freedesktop.login1"
	logindPath  = dbus.ObjectPath("/org/freedesktop/login1")
	logindIface = "org.freedesktop.login1.Manager"
)

// Inhibit implements that of logind.
func (l *logind) Inhibit(_, _, _, _ string) (dbus.UnixFD, *dbus.Error) {
	mine, theirs, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	fd := dbus.UnixFD(theirs.Fd())
	l.locks <- lock{mine, theirs}
	return fd, nil
}

// startLogind starts a system bus on the node, with a logind that waits for long
// enough.
func (c *podCluster) startLogind(t *testing.T) *logind {
	t.Helper()
	const socket = "/run/dbus/system_bus_socket"
	c.Run(t, "mkdir", "-p", "/run/dbus")
	daemon := c.Command(t.Context(), "dbus-daemon", "--session", "--nofork", "--nopidfile", "--address=unix:path="+socket)
	if err := c.Start(daemon); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = daemon.Process.Kill(); _ = daemon.Wait() })
	l := &logind{locks: make(chan lock, 10)}
	lab.Until(t, patience, "reach the bus", func(context.Context) error {
		return c.Do(func() (err error) {
			l.conn, err = dbus.Connect("unix:path=" + socket)
			return err
		})
	})
	t.Cleanup(func() { _ = l.conn.Close() })
	_, err := prop.Export(l.conn, logindPath, prop.Map{logindIface: {"InhibitDelayMaxUSec": {Value: uint64(60_000_000)}}})
	if err = errors.Join(err, l.conn.Export(l, logindPath, logindIface)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.conn.RequestName(logindName, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	return l
}

// awaitReleased waits until a lock was given back.
func (l lock) awaitReleased(t *testing.T) {
	t.Helper()
	// The answer that took a copy to boot was written long ago: only that one counts.
	if err := errors.Join(l.theirs.Close(), l.mine.SetReadDeadline(time.Now().Add(patience))); err != nil {
		t.Fatal(err)
	}
	if _, err := l.mine.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the shutdown was not let go on: %v", err)
	}
}

// machineGoesDown has pods end in order before the machine does, static ones last.
func (c *podCluster) machineGoesDown(t *testing.T) {
	l := c.startLogind(t)
	c.reconfigure(t, map[string]any{
		"evictionHard": map[string]string{}, "shutdownGracePeriod": "40s", "shutdownGracePeriodCriticalPods": "20s",
		"evictionPressureTransitionPeriod": "1s",
	})
	c.awaitPressure(t, corev1.NodeDiskPressure, corev1.ConditionFalse)
	c.awaitTaint(t, corev1.TaintNodeDiskPressure, false)
	var held lock
	select {
	case held = <-l.locks:
	case <-time.After(patience):
		t.Fatal("boot does not ask shutdowns to wait")
	}
	c.Create(t, endsBadly(boxPod("web", "http", "8080")))
	c.AwaitReady(t, "web")
	if err := l.conn.Emit(logindPath, logindIface+".PrepareForShutdown", true); err != nil {
		t.Fatal(err)
	}
	held.awaitReleased(t)
	lab.Until(t, patience, "see nothing run", func(ctx context.Context) error {
		all, err := lab.Containers(ctx, engineClient(t, c.Node))
		if err == nil && len(all) > 0 {
			err = fmt.Errorf("there are %v", all)
		}
		return err
	})
	c.reconfigure(t, nil) // the machine comes up again
	p := c.AwaitPhase(t, "web", corev1.PodFailed)
	const message = "Pod was terminated in response to imminent node shutdown."
	if p.Status.Reason != "Terminated" || p.Status.Message != message {
		t.Errorf("%s: %s", p.Status.Reason, p.Status.Message)
	}
	if cond := podCondition(p, corev1.DisruptionTarget); cond == nil || cond.Reason != corev1.PodReasonTerminationByKubelet {
		t.Errorf("condition %+v", cond)
	}
	waitReady(t, c.Node)
	lab.Until(t, patience, "be told when the machine went down", func(ctx context.Context) error {
		metrics, err := c.Client.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/" + c.Name + "/proxy/metrics").DoRaw(ctx)
		for _, name := range []string{"kubelet_graceful_shutdown_start_time_seconds 1", "kubelet_graceful_shutdown_end_time_seconds 1"} {
			if err == nil && !strings.Contains(string(metrics), name) {
				err = fmt.Errorf("no %s among the metrics", name)
			}
		}
		return err
	})
}
