package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"boot.internal/e2e/internal/lab"
)

// settingsDropIn has the loop be another process, log otherwise, and logs be elsewhere. To become
// more important than before takes a right that not every machine gives.
const settingsDropIn = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
oomScoreAdj: 321
podLogsDir: /var/log/elsewhere
logging: {format: json}
`

// TestLoopSettings sees what is set of the loop itself, and of the logs it keeps.
func TestLoopSettings(t *testing.T) {
	s := newStandalone(t)
	s.kill(t)
	s.node.WriteFile(t, dropIns+"/20-settings.conf", settingsDropIn)
	manager := s.managed(t)
	s.start(t)
	s.log.says(t, `{"time":`, `"msg":"container engine answers"`)
	manager.hears(t, "WATCHDOG=1")
	if score := s.score(t); score != "321" {
		t.Errorf("oom_score_adj is %s", score)
	}

	p := hostPod("logs", box("c", "cat", "/proc/self/oom_score_adj"))
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	s.put(t, p)
	p = s.until(t, "logs", "ended", hasPhase(corev1.PodSucceeded))
	name := fmt.Sprintf("default_%s_%s", p.Name, p.UID)
	if log := s.node.ReadFile(t, "/var/log/elsewhere/"+name+"/c/0.log"); !strings.Contains(log, "stdout F 1000") {
		t.Errorf("the log is %q", log)
	}
	if s.node.Exists(t, "/var/log/pods/"+name) {
		t.Error("there are logs where they are by default")
	}
	lab.Until(t, patience, "read the log", func(ctx context.Context) error {
		log, err := s.get(ctx, "https://127.0.0.1:10250/containerLogs/default/"+p.Name+"/c")
		if err == nil && string(log) != "1000\n" {
			err = fmt.Errorf("it is %q", log)
		}
		return err
	})
}

// A manager is the socket on which a service manager hears of the loop.
type manager struct{ *net.UnixConn }

// managed has the loop be started by a service manager that wants to know every second
// whether it is alive.
func (s *standalone) managed(t *testing.T) (m manager) {
	t.Helper()
	err := s.node.Do(func() (err error) {
		m.UnixConn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/run/manager.sock", Net: "unixgram"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	s.env = []string{"NOTIFY_SOCKET=/run/manager.sock", "WATCHDOG_USEC=1000000"}
	return m
}

// hears waits until the manager has been told that.
func (m manager) hears(t *testing.T, want string) {
	t.Helper()
	if err := m.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for text := make([]byte, 100); ; {
		n, err := m.Read(text)
		if err != nil {
			t.Fatalf("the manager has not been told %s: %v", want, err)
		}
		if string(text[:n]) == want {
			return
		}
	}
}

// score is the oom_score_adj of the loop.
func (s *standalone) score(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", s.process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}
