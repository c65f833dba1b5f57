package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"boot.internal/e2e/internal/lab"
)

func (s *standalone) probes(t *testing.T) {
	parallel(t, map[string]func(t *testing.T){
		"IC-42 readiness by http, tcp, exec and grpc": s.readiness,
		"IC-28 startup comes first":                   s.startup,
		"IC-16 liveness":                              s.liveness,
	})
}

// Each kind of probe follows what it asks.
func (s *standalone) readiness(t *testing.T) {
	p := newPod("readiness",
		box("http", "http", ":8080", "--ready-file", "/data/ready"),
		box("tcp", "tcp", ":8081"),
		box("exec", "sleep", "infinity"),
		box("grpc", "grpc-health", "8082", "--ready-file", "/data/ready"),
	)
	for i, h := range []corev1.ProbeHandler{
		httpGet(8080),
		{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt(8081)}},
		execute("cat", "/data/ready"),
		{GRPC: &corev1.GRPCAction{Port: 8082}},
	} {
		p.Spec.Containers[i].ReadinessProbe = quick(h)
	}
	s.put(t, mount(p, hostDir("/tmp/readiness")))
	for range 2 { // there and back, twice
		s.until(t, "readiness", "not ready but for tcp", readies("tcp"))
		s.node.WriteFile(t, "/tmp/readiness/ready", "")
		up := s.until(t, "readiness", "ready", readies("http", "tcp", "exec", "grpc"))
		if err := podReady(up); err != nil {
			t.Errorf("all containers are ready: %v", err)
		}
		s.node.Remove(t, "/tmp/readiness/ready")
	}
	after := s.until(t, "readiness", "not ready but for tcp", readies("tcp"))
	for _, c := range after.Status.ContainerStatuses {
		if c.RestartCount > 0 {
			t.Errorf("%s was restarted", c.Name)
		}
	}
}

// readies returns a check that those containers, and no others, are ready.
func readies(names ...string) func(p *corev1.Pod) error {
	return func(p *corev1.Pod) error {
		var got []string
		for _, c := range p.Status.ContainerStatuses {
			if c.Ready {
				got = append(got, c.Name)
			}
		}
		if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(names))) {
			return fmt.Errorf("ready are %q, want %q", got, names)
		}
		return nil
	}
}

// Liveness would kill the container before it has started, and must not get to.
func (s *standalone) startup(t *testing.T) {
	p := newPod("startup", box("c", "http", ":8080", "--ready-file", "/data/ready"))
	c := &p.Spec.Containers[0]
	c.StartupProbe, c.LivenessProbe, c.ReadinessProbe = unhurried(quick(httpGet(8080))), quick(httpGet(8080)), quick(httpGet(8080))
	s.put(t, mount(p, hostDir("/tmp/startup")))
	s.until(t, "startup", "not started", func(p *corev1.Pod) error {
		c := statusOf(p, "c")
		if c.State.Running == nil || c.Started == nil || *c.Started {
			return errors.New("it does not run, or has started")
		}
		return nil
	})
	s.log.says(t, "startup-"+s.node.Name, "Startup probe failed")
	s.node.WriteFile(t, "/tmp/startup/ready", "")
	up := s.ready(t, "startup")
	if got := statusOf(up, "c"); got.RestartCount != 0 || got.Started == nil || !*got.Started {
		t.Errorf("%s", brief(up))
	}
}

func (s *standalone) liveness(t *testing.T) {
	p := newPod("liveness", box("c", "http", ":8080", "--ready-file", "/data/alive"), box("other", "sleep", "infinity"))
	c := &p.Spec.Containers[0]
	c.StartupProbe = unhurried(quick(httpGet(8080))) // it would be asked before it listens
	c.LivenessProbe = quick(httpGet(8080))
	c.LivenessProbe.FailureThreshold = 5
	s.node.Run(t, "mkdir", "-p", "/tmp/liveness")
	s.node.WriteFile(t, "/tmp/liveness/alive", "")
	before := s.run(t, mount(p, hostDir("/tmp/liveness")))
	if got := statusOf(before, "c").RestartCount; got != 0 {
		t.Errorf("restarted %d times while it was alive", got)
	}
	s.node.Remove(t, "/tmp/liveness/alive")
	s.until(t, "liveness", "restarted", func(p *corev1.Pod) error {
		if c := statusOf(p, "c"); c.RestartCount == 0 {
			return errors.New("it was not")
		}
		return nil
	})
	s.node.WriteFile(t, "/tmp/liveness/alive", "")
	after := s.ready(t, "liveness")
	s.log.says(t, "liveness-"+s.node.Name, "Liveness probe failed")
	if containerID(t, after, "other") != containerID(t, before, "other") {
		t.Error("the other container was restarted too")
	}
}

func (s *standalone) network(t *testing.T) {
	parallel(t, map[string]func(t *testing.T){
		"pods of their own address, and a host port": s.podNetwork,
	})
}

func (s *standalone) podNetwork(t *testing.T) {
	server := newPod("server", box("c", "http", ":8080"))
	server.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, HostPort: 18080}}
	server.Spec.Containers[0].ReadinessProbe = quick(httpGet(8080))
	server.Spec.Hostname = "a-name"
	s.put(t, server)
	s.put(t, newPod("client", box("c", "sleep", "infinity")))
	up, client := s.ready(t, "server"), s.ready(t, "client")
	for _, p := range []*corev1.Pod{up, client} {
		ip, err := netip.ParseAddr(p.Status.PodIP)
		if err != nil || !netip.MustParsePrefix("10.200.0.0/24").Contains(ip) {
			t.Errorf("%s has address %q", p.Name, p.Status.PodIP)
		}
	}
	if up.Status.PodIP == client.Status.PodIP {
		t.Errorf("both have %s", up.Status.PodIP)
	}
	if got := s.exec(t, client, "c", "get", "http://"+up.Status.PodIP+":8080/hostname"); got != "a-name" {
		t.Errorf("over the bridge it answers %q", got)
	}
	for _, host := range []string{s.node.IP.String(), "127.0.0.1"} {
		lab.Until(t, patience, "reach the host port at "+host, func(ctx context.Context) error {
			body, err := s.get(ctx, "http://"+host+":18080/hostname")
			if err == nil && string(body) != "a-name\n" {
				err = fmt.Errorf("it answers %q", body)
			}
			return err
		})
	}
	s.node.Remove(t, manifestPath("server"))
	s.gone(t, "server")
	lab.Until(t, patience, "see the host port closed", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.node.IP.String()+":18080/hostname", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := s.http.Do(req)
		if err == nil {
			return errors.Join(errors.New("it answers"), resp.Body.Close())
		}
		return nil
	})
}
