package network

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/engine"
	"boot.internal/nstest"
)

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// startEngine runs a real engine with the pause image.
func startEngine(t *testing.T) runtimev1.RuntimeServiceClient {
	t.Helper()
	e, err := engine.Find(t.Context(), engine.Options{Mode: engine.Bundled, Archive: engine.File(nstest.Engine(t))})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	if err := os.Symlink(nstest.Image(t, "pause"), filepath.Join(dir, "pause.tar")); err != nil {
		t.Fatal(err)
	}
	if err := e.NewImporter(dir, nil).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(e.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return runtimev1.NewRuntimeServiceClient(conn)
}

// pod is a sandbox on the pod network.
type pod struct {
	ip    netip.Addr
	netns string
}

func runPod(t *testing.T, cri runtimev1.RuntimeServiceClient, hostPort, port int32) pod {
	t.Helper()
	config := &runtimev1.PodSandboxConfig{
		Metadata:     &runtimev1.PodSandboxMetadata{Name: fmt.Sprintf("p%d", port), Namespace: "default", Uid: fmt.Sprint(port)},
		LogDirectory: t.TempDir(),
		Linux:        &runtimev1.LinuxPodSandboxConfig{CgroupParent: "/" + nstest.Cgroup()},
	}
	if hostPort != 0 {
		config.PortMappings = []*runtimev1.PortMapping{{HostPort: hostPort, ContainerPort: port}}
	}
	// The engine notices a new CNI configuration by itself, a moment later.
	var id string
	for id == "" {
		s, err := cri.RunPodSandbox(t.Context(), &runtimev1.RunPodSandboxRequest{Config: config})
		if err != nil && !strings.Contains(err.Error(), "cni plugin not initialized") {
			t.Fatal(err)
		}
		id = s.GetPodSandboxId()
	}
	t.Cleanup(func() {
		if _, err := cri.StopPodSandbox(context.Background(), &runtimev1.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
			t.Error(err)
		}
	})
	st, err := cri.PodSandboxStatus(t.Context(), &runtimev1.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	_, path, ok := strings.Cut(st.GetInfo()["info"], `"type":"network","path":"`)
	if !ok {
		t.Fatalf("no network namespace in %s", st.GetInfo()["info"])
	}
	path, _, _ = strings.Cut(path, `"`)
	return pod{netip.MustParseAddr(st.GetStatus().GetNetwork().GetIp()), path}
}

// greeter tells everyone who connects what address they come from.
func greeter(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			_, _ = io.WriteString(c, host)
			_ = c.Close()
		}
	}()
}

func greeted(address string) (string, error) {
	c, err := net.DialTimeout("tcp", address, 30*time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", err
	}
	data, err := io.ReadAll(c)
	return string(data), err
}

func mustGreet(address, want string) func() error {
	return func() error {
		got, err := greeted(address)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s saw %s, want %s", address, got, want)
		}
		return nil
	}
}

func TestRealPodNetwork(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	// That of the process may become another one: a thread keeps its own.
	node, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = node.Close() }()
	cri := startEngine(t)
	o := Options{PodCIDRs: cidrs("10.244.3.0/24", "fd00:3::/64")}
	if err := Configure(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat("/etc/cni/net.d/10-boot.conflist")
	if err != nil {
		t.Fatal(err)
	}
	if err := Configure(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat("/etc/cni/net.d/10-boot.conflist"); err != nil || !os.SameFile(before, after) {
		t.Errorf("written again, %v", err)
	}

	a, b := runPod(t, cri, 8080, 80), runPod(t, cri, 0, 81)
	for _, p := range []pod{a, b} {
		if !o.PodCIDRs[0].Contains(p.ip) {
			t.Errorf("pod IP %s is outside of %s", p.ip, o.PodCIDRs[0])
		}
	}
	nstest.Inside(t, a.netns, func() error { greeter(t, a.ip.String()+":80"); return nil })
	t.Run("pod to pod", func(t *testing.T) {
		nstest.Inside(t, b.netns, mustGreet(a.ip.String()+":80", b.ip.String()))
	})
	t.Run("host to pod", func(t *testing.T) {
		nstest.Inside(t, fmt.Sprintf("/proc/self/fd/%d", node.Fd()), mustGreet(a.ip.String()+":80", "10.244.3.1"))
	})

	// A host outside that has no route to pods.
	ip(t, "netns", "add", "outside")
	ip(t, "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "outside")
	ip(t, "addr", "add", "192.0.2.1/24", "dev", "up0")
	ip(t, "link", "set", "up0", "up")
	ip(t, "-n", "outside", "addr", "add", "192.0.2.2/24", "dev", "eth0")
	ip(t, "-n", "outside", "link", "set", "eth0", "up")
	nstest.Inside(t, "/run/netns/outside", func() error { greeter(t, "192.0.2.2:80"); return nil })
	t.Run("pod to outside, masqueraded", func(t *testing.T) {
		nstest.Inside(t, a.netns, mustGreet("192.0.2.2:80", "192.0.2.1"))
	})
	t.Run("outside to host port", func(t *testing.T) {
		nstest.Inside(t, "/run/netns/outside", mustGreet("192.0.2.1:8080", "192.0.2.2"))
	})
	t.Run("nothing is left", testRemoved(cri, o))
}

// testRemoved removes the network and looks for what is left.
func testRemoved(cri runtimev1.RuntimeServiceClient, o Options) func(*testing.T) {
	return func(t *testing.T) {
		all, err := cri.ListPodSandbox(t.Context(), &runtimev1.ListPodSandboxRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all.GetItems() {
			if _, err := cri.StopPodSandbox(t.Context(), &runtimev1.StopPodSandboxRequest{PodSandboxId: s.GetId()}); err != nil {
				t.Fatal(err)
			}
			if _, err := cri.RemovePodSandbox(t.Context(), &runtimev1.RemovePodSandboxRequest{PodSandboxId: s.GetId()}); err != nil {
				t.Fatal(err)
			}
		}
		addTable(t, "ip", "kube-proxy")
		addTable(t, "inet", "somebody-elses")
		if err := Remove(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		left, err := Leftovers(t.Context(), o)
		if err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
		for _, path := range []string{"/sys/class/net/cni0", "/etc/cni/net.d/10-boot.conflist", "/run/boot/cni", "/var/lib/cni"} {
			if _, err := os.Stat(path); err == nil {
				t.Errorf("%s is left", path)
			}
		}
		c, err := nftables.New()
		if err != nil {
			t.Fatal(err)
		}
		tables, err := c.ListTables()
		if err != nil || len(tables) != 1 || tables[0].Name != "somebody-elses" {
			t.Errorf("tables left: %v, %v", tables, err)
		}
	}
}

func addTable(t *testing.T, family, name string) {
	t.Helper()
	if out, err := exec.Command("nft", "add", "table", family, name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// Without our configuration there, a bridge of that name is somebody else's.
func TestRealRemoveSparesOthers(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	ip(t, "link", "add", Bridge, "type", "bridge")
	if err := Remove(t.Context(), Options{}); err != nil {
		t.Fatal(err)
	}
	ip(t, "link", "show", Bridge)
}

func TestRealRemoveChains(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	restore := exec.Command("iptables-restore")
	restore.Stdin = strings.NewReader("*nat\n:KUBE-SERVICES - [0:0]\n:MINE - [0:0]\n-A PREROUTING -j KUBE-SERVICES\n-A PREROUTING -j MINE\n-A KUBE-SERVICES -j RETURN\nCOMMIT\n")
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := Remove(t.Context(), Options{}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("iptables-save").CombinedOutput()
	if err != nil || strings.Contains(string(out), "KUBE-") || !strings.Contains(string(out), "-A PREROUTING -j MINE") {
		t.Errorf("%v, left:\n%s", err, out)
	}
}

// Where the kernel has no nftables, programs of iptables make the rules.
func TestRealIPTables(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	o := Options{PodCIDRs: cidrs("10.244.3.0/24", "fd00:244:0:3::/64"), ClusterCIDRs: cidrs("10.244.0.0/16", "fd00:244::/56")}
	ip(t, "netns", "add", "pod")
	ip(t, "netns", "add", "outside")
	for name, addr := range map[string]string{"pod": "10.244.3.", "outside": "192.0.2."} {
		ip(t, "link", "add", "to-"+name, "type", "veth", "peer", "name", "eth0", "netns", name)
		ip(t, "addr", "add", addr+"1/24", "dev", "to-"+name)
		ip(t, "link", "set", "to-"+name, "up")
		ip(t, "-n", name, "addr", "add", addr+"2/24", "dev", "eth0")
		ip(t, "-n", name, "link", "set", "eth0", "up")
		ip(t, "-n", name, "route", "add", "default", "via", addr+"1")
	}
	// A pod of another node, as far as its address goes.
	ip(t, "-n", "outside", "addr", "add", "10.244.7.2/32", "dev", "lo")
	ip(t, "-n", "outside", "link", "set", "lo", "up")
	ip(t, "route", "add", "10.244.7.0/24", "via", "192.0.2.2")
	for _, args := range [][]string{{"sysctl", "-qw", "net.ipv4.ip_forward=1"}, {"iptables", "-P", "FORWARD", "DROP"}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	nstest.Inside(t, "/run/netns/outside", func() error { greeter(t, "192.0.2.2:80"); greeter(t, "10.244.7.2:80"); return nil })
	for range 2 { // the second time changes nothing
		if err := o.programIPTables(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	nstest.Inside(t, "/run/netns/pod", mustGreet("192.0.2.2:80", "192.0.2.1"))
	nstest.Inside(t, "/run/netns/pod", mustGreet("10.244.7.2:80", "10.244.3.2"))
	if err := Remove(t.Context(), Options{}); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{iptablesV4, iptablesV6} {
		if out, err := exec.Command(program + "-save").CombinedOutput(); err != nil || strings.Contains(string(out), chainPrefix) {
			t.Errorf("%v, left:\n%s", err, out)
		}
	}
}
