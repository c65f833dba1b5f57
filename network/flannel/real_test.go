package flannel

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"boot.internal/network"
	"boot.internal/nstest"
)

func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// A world is some nodes on a common link, each a network namespace with one pod,
// and an API that is told what nodes are told.
type world struct {
	t     *testing.T
	api   *fake.Clientset
	conf  Conf
	nodes []*station
}

// A station is a node as its Network sees it.
type station struct {
	w      *world
	name   string
	number int
	net    *Network
	events []string
}

func newWorld(t *testing.T, conf Conf) *world {
	w := &world{t: t, api: fake.NewClientset(), conf: conf}
	ip(t, "link", "add", "lan", "type", "bridge")
	ip(t, "addr", "add", "10.0.0.254/24", "dev", "lan")
	ip(t, "link", "set", "lan", "up")
	return w
}

// ranges are those of the pods of a node.
func (s *station) ranges() []string {
	return []string{fmt.Sprintf("10.244.%d.0/24", s.number), fmt.Sprintf("fd00:244:0:%d::/64", s.number)}
}

func (s *station) pod() string  { return fmt.Sprintf("10.244.%d.2", s.number) }
func (s *station) pod6() string { return fmt.Sprintf("fd00:244:0:%d::2", s.number) }
func (s *station) addr() string { return fmt.Sprintf("10.0.0.%d", s.number) }

func (s *station) netns() string    { return "/run/netns/" + s.name }
func (s *station) podNetns() string { return "/run/netns/pod-" + s.name }

// add brings a node up, on the link with the others and with one pod.
func (w *world) add(name string) *station {
	w.t.Helper()
	s := &station{w: w, name: name, number: len(w.nodes) + 1}
	w.nodes = append(w.nodes, s)
	ip(w.t, "netns", "add", name)
	ip(w.t, "link", "add", "to-"+name, "type", "veth", "peer", "name", "eth0", "netns", name)
	ip(w.t, "link", "set", "to-"+name, "master", "lan", "up")
	ip(w.t, "-n", name, "link", "set", "lo", "up")
	ip(w.t, "-n", name, "addr", "add", s.addr()+"/24", "dev", "eth0")
	ip(w.t, "-n", name, "addr", "add", fmt.Sprintf("fd00:77::%d/64", s.number), "dev", "eth0", "nodad")
	ip(w.t, "-n", name, "link", "set", "eth0", "up")
	ip(w.t, "-n", name, "route", "add", "default", "via", "10.0.0.254")
	ip(w.t, "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=1")
	s.addPod()
	s.restart()
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.NodeSpec{PodCIDRs: s.ranges()}}
	if _, err := w.api.CoreV1().Nodes().Create(w.t.Context(), node, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// addPod plugs a pod in, as the CNI plugins do.
func (s *station) addPod() {
	t, pod := s.w.t, "pod-"+s.name
	ip(t, "netns", "add", pod)
	ip(t, "-n", s.name, "link", "add", network.Bridge, "type", "bridge")
	ip(t, "-n", s.name, "addr", "add", fmt.Sprintf("10.244.%d.1/24", s.number), "dev", network.Bridge)
	ip(t, "-n", s.name, "addr", "add", fmt.Sprintf("fd00:244:0:%d::1/64", s.number), "dev", network.Bridge, "nodad")
	ip(t, "-n", s.name, "link", "set", network.Bridge, "up")
	ip(t, "-n", s.name, "link", "add", "pod0", "type", "veth", "peer", "name", "eth0", "netns", pod)
	ip(t, "-n", s.name, "link", "set", "pod0", "master", network.Bridge, "up")
	ip(t, "-n", pod, "addr", "add", s.pod()+"/24", "dev", "eth0")
	ip(t, "-n", pod, "addr", "add", s.pod6()+"/64", "dev", "eth0", "nodad")
	ip(t, "-n", pod, "link", "set", "lo", "up")
	ip(t, "-n", pod, "link", "set", "eth0", "up")
	ip(t, "-n", pod, "route", "add", "default", "via", fmt.Sprintf("10.244.%d.1", s.number))
	ip(t, "-n", pod, "route", "add", "default", "via", fmt.Sprintf("fd00:244:0:%d::1", s.number))
	nstest.Inside(t, s.podNetns(), func() error {
		for _, address := range []string{s.pod(), s.pod6()} {
			if err := greet(t, net.JoinHostPort(address, "80")); err != nil {
				return err
			}
		}
		return echo(t, s.pod()+":81")
	})
}

// restart forgets all that the node's boot knew.
func (s *station) restart() {
	s.net = New(Options{
		Node: s.name, NodeIPs: []netip.Addr{netip.MustParseAddr(s.addr())}, Log: slog.New(slog.DiscardHandler),
		Local: network.Options{ConfDir: filepath.Join("/run", s.name)},
	})
	s.net.cidrs, s.net.conf = prefixes(s.ranges()...), &s.w.conf
	s.net.told = newTelling(s.net.o.Log, func(_, _, message string) { s.events = append(s.events, message) })
}

// look has a node look at what the API says now.
func (s *station) look() {
	s.w.t.Helper()
	list, err := s.w.api.CoreV1().Nodes().List(s.w.t.Context(), metav1.ListOptions{})
	if err != nil {
		s.w.t.Fatal(err)
	}
	all := make([]any, 0, len(list.Items))
	for i := range list.Items {
		all = append(all, &list.Items[i])
	}
	if err := (nodeStore{s.net}).Replace(all, ""); err != nil {
		s.w.t.Fatal(err)
	}
	s.net.conf = &s.w.conf
	nstest.Inside(s.w.t, s.netns(), func() error { return s.net.look(s.w.t.Context(), s.w.api.CoreV1()) })
}

// settle has all nodes look until nothing changes: once to speak, once to hear.
func (w *world) settle() {
	w.t.Helper()
	for range 2 {
		for _, s := range w.nodes {
			s.look()
		}
	}
}

// greet tells everyone who connects what address they come from.
func greet(t *testing.T, address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
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
	return nil
}

// echo answers each datagram with itself.
func echo(t *testing.T, address string) error {
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
	return nil
}

// sees checks as what a server sees who asks from a network namespace.
func sees(t *testing.T, netns, server, want string) {
	t.Helper()
	nstest.Inside(t, netns, func() error {
		got, err := ask(server)
		if err == nil && got != want {
			err = fmt.Errorf("%s sees %q, want %q", server, got, want)
		}
		return err
	})
}

func ask(server string) (string, error) {
	c, err := net.DialTimeout("tcp", net.JoinHostPort(server, "80"), 3*time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return "", err
	}
	data, err := io.ReadAll(c)
	return string(data), err
}

// whole sends a packet of so many bytes that must not be cut, there and back.
func whole(server string, size int) error {
	c, err := net.Dial("udp", net.JoinHostPort(server, "81"))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	_ = raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	})
	data := make([]byte, size-28) // without the headers of IP and UDP
	if err == nil {
		err = c.SetDeadline(time.Now().Add(3 * time.Second))
	}
	if err == nil {
		_, err = c.Write(data)
	}
	if err == nil {
		_, err = io.ReadFull(c, data)
	}
	return err
}

// kernel is what a node's kernel has of other nodes.
func (s *station) kernel() string {
	return ip(s.w.t, "-n", s.name, "-d", "link", "show", "type", "vxlan") +
		ip(s.w.t, "-n", s.name, "route") + ip(s.w.t, "-n", s.name, "-6", "route", "show", "proto", "98") +
		ip(s.w.t, "-n", s.name, "neigh", "show", "nud", "permanent") + ip(s.w.t, "netns", "exec", s.name, "bridge", "fdb", "show")
}

func dualStack(backend Backend) Conf {
	return Conf{ClusterCIDRs: prefixes("10.244.0.0/16", "fd00:244::/56"), Backend: backend}
}

func TestRealTunnels(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	w := newWorld(t, dualStack(VXLAN))
	a, b, c := w.add("a"), w.add("b"), w.add("c")
	w.settle()
	if err := greet(t, "10.0.0.254:80"); err != nil {
		t.Fatal(err)
	}
	t.Run("pods see each other as they are", func(t *testing.T) {
		sees(t, a.podNetns(), b.pod(), a.pod())
		sees(t, b.podNetns(), c.pod(), b.pod())
		sees(t, c.podNetns(), a.pod6(), c.pod6())
	})
	t.Run("the outside sees the node", func(t *testing.T) { sees(t, a.podNetns(), "10.0.0.254", a.addr()) })
	t.Run("pods see a node by its tunnel", func(t *testing.T) {
		sees(t, a.netns(), b.pod(), "10.244.1.0")
		sees(t, a.netns(), b.pod6(), "fd00:244:0:1::")
	})
	t.Run("packets as large as pods make them", func(t *testing.T) { testSize(t, a, b, 1430) }) // room over IPv6
	t.Run("nothing changes", func(t *testing.T) { testUntouched(t, a) })
	t.Run("a node that moves", func(t *testing.T) { testMoved(t, a, b) })
	t.Run("tunnels that are not as they should be", func(t *testing.T) { testStale(t, a, b) })
	t.Run("a node whose address is gone for a while", func(t *testing.T) { testAddressGone(t, a, b) })
	t.Run("a host that drops what it forwards", func(t *testing.T) { testDropping(t, a, b) })
	t.Run("a node that vanishes", func(t *testing.T) { testVanished(t, a, c) })
	t.Run("without tunnels after all", func(t *testing.T) { testDirect(t, w, a, b) })
	t.Run("nothing is left", func(t *testing.T) { testLeftovers(t, a) })
}

func testSize(t *testing.T, a, b *station, mtu int) {
	conf, err := os.ReadFile(filepath.Join("/run", a.name, "10-boot.conflist"))
	if err != nil || !strings.Contains(string(conf), fmt.Sprintf(`"mtu": %d`, mtu)) {
		t.Errorf("%v, want an MTU of %d in %s", err, mtu, conf)
	}
	for _, s := range []*station{a, b} {
		ip(t, "-n", "pod-"+s.name, "link", "set", "eth0", "mtu", fmt.Sprint(mtu))
	}
	nstest.Inside(t, a.podNetns(), func() error { return whole(b.pod(), mtu) })
}

// A restart changes nothing, neither before nor after the API has been heard.
func testUntouched(t *testing.T, a *station) {
	before := a.kernel()
	a.restart()
	nstest.Inside(t, a.netns(), func() error { return a.net.look(t.Context(), a.w.api.CoreV1()) })
	if diff := cmp.Diff(before, a.kernel()); diff != "" {
		t.Errorf("before the nodes are known: %s", diff)
	}
	a.look()
	if diff := cmp.Diff(before, a.kernel()); diff != "" {
		t.Error(diff)
	}
	if len(a.events) > 0 {
		t.Errorf("events %q", a.events)
	}
}

// b gets another address and makes its tunnel anew.
func testMoved(t *testing.T, a, b *station) {
	ip(t, "-n", b.name, "addr", "add", "10.0.0.77/24", "dev", "eth0")
	ip(t, "-n", b.name, "link", "add", "tmp", "type", "veth", "peer", "name", "tmp1") // another index for the next link
	ip(t, "-n", b.name, "link", "del", network.TunnelIPv4)
	b.net.o.NodeIPs = []netip.Addr{netip.MustParseAddr("10.0.0.77")}
	b.look()
	a.look()
	sees(t, a.podNetns(), b.pod(), a.pod())
	if kernel := a.kernel(); strings.Contains(kernel, "dst 10.0.0.2 ") || !strings.Contains(kernel, "dst 10.0.0.77 ") {
		t.Errorf("a has\n%s", kernel)
	}
	// It is another machine, of the same name and range.
	n, err := a.w.api.CoreV1().Nodes().Get(t.Context(), b.name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.Annotations[annotationData] = `{"VNI":1,"VtepMAC":"02:99:99:99:99:99"}`
	if _, err := a.w.api.CoreV1().Nodes().Update(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	a.look()
	if kernel := a.kernel(); strings.Count(kernel, "dst 10.0.0.77 ") != 1 || strings.Count(kernel, "02:99:99:99:99:99") != 2 {
		t.Errorf("after a replacement a has\n%s", kernel)
	}
	b.look() // says who it really is
	a.look()
	sees(t, a.podNetns(), b.pod(), a.pod())
}

func testStale(t *testing.T, a, b *station) {
	ip(t, "-n", a.name, "link", "set", network.TunnelIPv4, "mtu", "1300")
	before := ip(t, "-n", a.name, "-o", "link", "show", network.TunnelIPv4)
	a.look()
	after := ip(t, "-n", a.name, "-o", "link", "show", network.TunnelIPv4)
	if index, _, _ := strings.Cut(before, ":"); !strings.HasPrefix(after, index+":") || !strings.Contains(after, "mtu 1450") {
		t.Errorf("of another MTU: %swas %s", after, before)
	}
	ip(t, "-n", a.name, "link", "del", network.TunnelIPv4)
	ip(t, "-n", a.name, "link", "add", network.TunnelIPv4, "type", "vxlan", "id", "7", "dstport", "8472")
	a.look()
	if got := ip(t, "-n", a.name, "-d", "link", "show", network.TunnelIPv4); !strings.Contains(got, "vxlan id 1 local 10.0.0.1 dev eth0") {
		t.Errorf("of another network: %s", got)
	}
	sees(t, a.podNetns(), b.pod(), a.pod())
	ip(t, "-n", a.name, "link", "set", network.TunnelIPv4, "down") // and the kernel forgets its routes
	a.look()
	sees(t, a.podNetns(), b.pod(), a.pod())
}

// Nothing is torn down, and somebody is told.
func testAddressGone(t *testing.T, a, b *station) {
	before := a.kernel()
	a.net.o.NodeIPs = []netip.Addr{netip.MustParseAddr("10.0.0.99")}
	nstest.Inside(t, a.netns(), func() error {
		err := a.net.look(t.Context(), a.w.api.CoreV1())
		if err == nil || !strings.Contains(err.Error(), "no link has an address") {
			return fmt.Errorf("it is not missed: %w", err)
		}
		return nil
	})
	if diff := cmp.Diff(before, a.kernel()); diff != "" {
		t.Error(diff)
	}
	a.net.o.NodeIPs = []netip.Addr{netip.MustParseAddr(a.addr())}
	a.look()
	sees(t, a.podNetns(), b.pod(), a.pod())
}

// As Docker does it, with iptables.
func testDropping(t *testing.T, a, b *station) {
	ip(t, "netns", "exec", a.name, "iptables", "-P", "FORWARD", "DROP")
	ip(t, "netns", "exec", a.name, "nft", "add table inet fw; add chain inet fw forward { type filter hook forward priority 10; policy drop; }")
	nstest.Inside(t, b.podNetns(), func() error {
		if got, err := ask(a.pod()); err == nil {
			return fmt.Errorf("nothing is dropped: %s", got)
		}
		return nil
	})
	a.look()
	sees(t, b.podNetns(), a.pod(), b.pod())
	sees(t, a.podNetns(), b.pod6(), a.pod6())
	sees(t, a.podNetns(), "10.0.0.254", a.addr())
	rules := ip(t, "netns", "exec", a.name, "iptables", "-S", "FORWARD")
	if !strings.Contains(rules, "-A FORWARD -s 10.244.0.0/16") {
		t.Errorf("iptables sees\n%s", rules)
	}
	a.look()
	if again := ip(t, "netns", "exec", a.name, "iptables", "-S", "FORWARD"); again != rules {
		t.Errorf("a second look: %s, was\n%s", again, rules)
	}
}

func testVanished(t *testing.T, a, c *station) {
	if err := a.w.api.CoreV1().Nodes().Delete(t.Context(), c.name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	a.w.nodes = a.w.nodes[:2]
	a.look()
	if kernel := a.kernel(); strings.Contains(kernel, "10.244.3.") || strings.Contains(kernel, "fd00:244:0:3") || strings.Contains(kernel, "10.0.0.3 ") {
		t.Errorf("a still has\n%s", kernel)
	}
}

func testDirect(t *testing.T, w *world, a, b *station) {
	w.conf = dualStack(HostGW)
	a.look() // b still has a tunnel
	b.look()
	a.look()
	sees(t, a.podNetns(), b.pod(), a.pod())
	sees(t, b.podNetns(), a.pod6(), b.pod6())
	sees(t, a.podNetns(), "10.0.0.254", a.addr())
	testSize(t, a, b, 1500)
	if kernel := a.kernel(); strings.Contains(kernel, "flannel") {
		t.Errorf("a still has\n%s", kernel)
	}
	if len(a.events) > 0 {
		t.Errorf("events %q", a.events)
	}
}

func testLeftovers(t *testing.T, a *station) {
	a.w.conf = dualStack(VXLAN)
	a.look()
	a.w.conf = dualStack(HostGW)
	a.look()
	ip(t, "-n", a.name, "link", "add", network.TunnelIPv4, "type", "vxlan", "id", "9", "dstport", "4789") // somebody's
	o := network.Options{ConfDir: filepath.Join("/run", a.name), CacheDir: t.TempDir(), StateDir: t.TempDir()}
	nstest.Inside(t, a.netns(), func() error { return network.Remove(context.Background(), o) })
	left := a.kernel() + ip(t, "netns", "exec", a.name, "nft", "list", "ruleset")
	for _, gone := range []string{"proto 98", "10.244.", "fd00:244", "boot"} {
		if strings.Contains(left, gone) {
			t.Errorf("%s is left in\n%s", gone, left)
		}
	}
	if !strings.Contains(left, "vxlan id 9") {
		t.Errorf("somebody's tunnel is gone:\n%s", left)
	}
}

// The kernel tells when somebody changes what is ours or what it rests on.
func TestRealKernelTells(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	ip(t, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
	ip(t, "addr", "add", "10.0.0.1/24", "dev", "eth0")
	ip(t, "link", "set", "eth0", "up")
	ip(t, "link", "set", "eth1", "up")
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	n := New(Options{Log: slog.New(slog.DiscardHandler)})
	n.links = map[int]bool{eth0.Index: true}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { n.followKernel(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	route := []string{"10.244.9.0/24", "via", "10.0.0.9", "proto", fmt.Sprint(network.RouteProtocol)}
	for _, step := range []struct{ change, revert []string }{
		{[]string{"link", "set", "eth0", "mtu", "1400"}, []string{"link", "set", "eth0", "mtu", "1500"}},
		{[]string{"addr", "add", "10.0.0.2/24", "dev", "eth0"}, []string{"addr", "del", "10.0.0.2/24", "dev", "eth0"}},
		{append([]string{"route", "del"}, route...), append([]string{"route", "add"}, route...)},
	} {
		if step.change[0] == "route" {
			ip(t, step.revert...)
		}
		for heard, deadline := false, time.Now().Add(10*time.Second); !heard; { // it may not listen yet
			ip(t, step.change...)
			select {
			case <-n.poke:
				heard = true
			case <-time.After(2 * calm):
				ip(t, step.revert...)
				if time.Now().After(deadline) {
					t.Fatalf("nobody hears of ip %v", step.change)
				}
			}
		}
	}
}
