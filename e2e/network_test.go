package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"boot.internal/e2e/internal/lab"
	"boot.internal/network"
	"boot.internal/network/flannel"
)

// A pair is a cluster of two nodes with a pod on each, and a host beside it that
// knows nothing of pods.
type pair struct {
	*podCluster
	nodes   [2]*lab.Node
	pods    [2]*corev1.Pod
	outside *lab.Node
}

// newPair makes one by a configuration for boot init.
func newPair(t *testing.T, lan *lab.LAN, initConfig string) *pair {
	t.Helper()
	p := &pair{nodes: [2]*lab.Node{furnished(t, lan, "node1"), furnished(t, lan, "node2")}, outside: lan.Node(t, "outside")}
	first, second := p.nodes[0], p.nodes[1]
	first.WriteFile(t, "/root/init.yaml", initConfig)
	first.Boot(t, "init", "--config", "/root/init.yaml")
	client := first.Client(t, adminConf)
	openNode(t, client, first)
	lab.Must(t, first.Signed(t.Context(), token))
	second.Boot(t, "join", first.IP.String()+":6443", "--token", token, "--discovery-token-unsafe-skip-ca-verification")
	p.podCluster = newPodCluster(t, first, client)
	openNode(t, client, second)
	for i, n := range p.nodes {
		p.run(t, n, fmt.Sprint("box", i), 0)
	}
	for i := range p.nodes {
		p.pods[i] = p.AwaitReady(t, fmt.Sprint("box", i))
	}
	return p
}

// run makes a pod on a node that serves HTTP, on a port of the node as well if one
// is given.
func (p *pair) run(t *testing.T, n *lab.Node, name string, hostPort int32) {
	t.Helper()
	made := boxPod(name, "http", ":8080")
	made.Labels = map[string]string{"app": name}
	made.Spec.NodeName = n.Name
	if hostPort != 0 {
		made.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, HostPort: hostPort}}
	}
	p.Create(t, made)
}

var errAnother = errors.New("it is another pod")

// in calls f in the network of the pod on a node, until that goes well: ways and rules
// may follow the pod by a moment.
func (p *pair) in(t *testing.T, node int, f func() error) {
	t.Helper()
	lab.Until(t, patience, "see it from the pod on "+p.nodes[node].Name, func(context.Context) error { return p.inNow(t, node, f) })
}

// inNow calls f in the network of the pod on a node. Others may run the same there.
func (p *pair) inNow(t *testing.T, node int, f func() error) error {
	t.Helper()
	ip := p.pods[node].Status.PodIP
	for _, process := range p.nodes[node].Processes(t) {
		if !process.Container || !strings.HasSuffix(strings.Join(process.Args, " "), "http :8080") {
			continue
		}
		err := process.InNetwork(func() error {
			if err := here(ip); err != nil {
				return err
			}
			return f()
		})
		if errors.Is(err, errAnother) {
			continue
		}
		return err
	}
	return fmt.Errorf("no pod with %s on %s", ip, p.nodes[node].Name)
}

// here checks that an address is one of this network namespace.
func here(ip string) error {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(addresses, func(a net.Addr) bool { return strings.HasPrefix(a.String(), ip+"/") }) {
		return errAnother
	}
	return nil
}

// tellers have each pod, and the outside, tell everyone who connects what address
// they come from, and send back each datagram.
func (p *pair) tellers(t *testing.T) {
	t.Helper()
	serve := func() error {
		l, err := net.Listen("tcp", ":9000")
		if err != nil {
			return err
		}
		u, err := net.ListenPacket("udp", ":9001")
		if err != nil {
			return err
		}
		t.Cleanup(func() { _, _ = l.Close(), u.Close() })
		go tellAll(l)
		go returnAll(u)
		return nil
	}
	for i := range p.nodes {
		p.in(t, i, serve)
	}
	if err := p.outside.Do(serve); err != nil {
		t.Fatal(err)
	}
}

func tellAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		_, _ = io.WriteString(c, host+"\n")
		go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
	}
}

func returnAll(u net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := u.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = u.WriteTo(buf[:n], from)
	}
}

// sees checks as what a teller sees who asks.
func sees(server, want string) func() error {
	return func() error {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(server, "9000"), 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close() //nolint:errcheck // all was read
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 100)
		n, err := c.Read(buf)
		if got := strings.TrimSpace(string(buf[:n])); err == nil && got != want {
			err = fmt.Errorf("%s sees %s, want %s", server, got, want)
		}
		return err
	}
}

// large sends a packet of so many bytes there and back that nobody may cut.
func large(server string, size int) func() error {
	return func() error {
		c, err := net.Dial("udp", net.JoinHostPort(server, "9001"))
		if err != nil {
			return err
		}
		defer c.Close() //nolint:errcheck // all was read
		raw, err := c.(*net.UDPConn).SyscallConn()
		if err != nil {
			return err
		}
		var set error
		if err := raw.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		}); err != nil || set != nil {
			return fmt.Errorf("forbid fragments: %w, %w", err, set)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		data := make([]byte, size-28) // the headers of IP and UDP
		if _, err := c.Write(data); err != nil {
			return fmt.Errorf("send %d bytes to %s: %w", size, server, err)
		}
		_, err = io.ReadFull(c, data)
		return err
	}
}

// mtu returns that of a pod's interface.
func (p *pair) mtu(t *testing.T, node int) (mtu int) {
	t.Helper()
	p.in(t, node, func() error {
		i, err := net.InterfaceByName("eth0")
		if err == nil {
			mtu = i.MTU
		}
		return err
	})
	return mtu
}

func (p *pair) expose(t *testing.T, name string, families ...corev1.IPFamily) *corev1.Service {
	t.Helper()
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "to-" + name}, // a pod has an address of its own for its name
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
	if len(families) > 0 {
		s.Spec.IPFamilies, s.Spec.IPFamilyPolicy = families, new(corev1.IPFamilyPolicyRequireDualStack)
	}
	s, err := p.Client.CoreV1().Services(p.Namespace).Create(t.Context(), s, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// networkConfig is that of a cluster with nothing special, whose nodes do not mind
// how full the disk is.
const networkConfig = `apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens: [{token: ` + token + `}]
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
`

// Pods of two nodes talk to each other, to Services and to the outside.
func TestNetwork(t *testing.T) {
	p := newPair(t, lab.NewLAN(t), networkConfig)
	p.tellers(t)
	a, b := p.pods[0].Status.PodIP, p.pods[1].Status.PodIP
	t.Run("pods see each other as they are", func(t *testing.T) {
		p.in(t, 0, sees(b, a))
		p.in(t, 1, sees(a, b))
	})
	t.Run("the outside sees the node", func(t *testing.T) {
		p.in(t, 0, sees(p.outside.IP.String(), p.nodes[0].IP.String()))
		p.in(t, 1, sees(p.outside.IP.String(), p.nodes[1].IP.String()))
	})
	t.Run("packets as large as pods make them", func(t *testing.T) {
		if mtu := p.mtu(t, 0); mtu != 1450 {
			t.Errorf("the MTU is %d", mtu)
		}
		p.in(t, 0, large(b, p.mtu(t, 0)))
	})
	t.Run("Services and DNS", p.testServices)
	t.Run("a port of the other node", p.testHostPort)
	t.Run("connections outlive a restart of boot", p.testRestart)
	t.Run("a change of the backend", p.testBackend)
	t.Run("a node that loses power", p.testPower)
	t.Run("a node that leaves", p.testLeaving)
}

// testBackend has the cluster do without tunnels, with all its pods running.
func (p *pair) testBackend(t *testing.T) {
	p.setBackend(t, "vxlan", "host-gw")
	for _, n := range p.nodes {
		lab.Until(t, patience, "see the tunnel gone from "+n.Name, func(ctx context.Context) error {
			out, err := n.Try(ctx, "ip", "link", "show", "type", "vxlan")
			if err == nil && out.Stdout != "" {
				err = errors.New(out.Stdout)
			}
			return err
		})
	}
	p.in(t, 0, sees(p.pods[1].Status.PodIP, p.pods[0].Status.PodIP))
	p.in(t, 1, sees(p.pods[0].Status.PodIP, p.pods[1].Status.PodIP))
}

// setBackend changes how the nodes of the cluster are connected.
func (p *pair) setBackend(t *testing.T, from, to string) {
	t.Helper()
	maps := p.Client.CoreV1().ConfigMaps(flannel.ConfNamespace)
	conf, err := maps.Get(t.Context(), flannel.ConfName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	conf.Data[flannel.ConfKey] = strings.Replace(conf.Data[flannel.ConfKey], from, to, 1)
	if _, err := maps.Update(t.Context(), conf, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// testPower has a node start over with nothing in its kernel, and a network that
// is another one by then.
func (p *pair) testPower(t *testing.T) {
	second := p.nodes[1]
	if err := second.PowerOff(); err != nil {
		t.Fatal(err)
	}
	p.setBackend(t, "host-gw", "vxlan")
	if err := second.PowerOn(); err != nil {
		t.Fatal(err)
	}
	p.run(t, second, "again", 0)
	ip := p.AwaitReady(t, "again").Status.PodIP
	if got := p.ExecUntil(t, "box0", "get", "http://"+ip+":8080/hostname"); strings.TrimSpace(got) != "again" {
		t.Errorf("it answers %q", got)
	}
	lab.Until(t, patience, "see the way to it", func(ctx context.Context) error {
		out, err := p.nodes[0].Try(ctx, "ip", "route", "get", ip)
		if err == nil && !strings.Contains(out.Stdout, "dev "+network.TunnelIPv4) {
			err = fmt.Errorf("%+v", out)
		}
		return err
	})
	p.pods[1].Status.PodIP = ip
}

// testLeaving resets a node, which leaves nothing of its network there and, once
// it is deleted, no way to it elsewhere.
func (p *pair) testLeaving(t *testing.T) {
	first, second := p.nodes[0], p.nodes[1]
	to := p.pods[1].Status.PodIP
	second.Boot(t, "reset", "--force")
	if got := second.Run(t, "sh", "-c", "ip -o link; ip route; ip -6 route; nft list tables"); strings.Contains(got, "cni0") ||
		strings.Contains(got, "flannel") || strings.Contains(got, "10.244.") || strings.Contains(got, "boot-") {
		t.Errorf("the node still has\n%s", got)
	}
	if got := first.Run(t, "ip", "route", "get", to); !strings.Contains(got, network.TunnelIPv4) {
		t.Errorf("before the node is deleted, there is no way: %s", got)
	}
	if err := p.Client.CoreV1().Nodes().Delete(t.Context(), second.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	lab.Until(t, patience, "see the way to the node gone", func(ctx context.Context) error {
		out, err := first.Try(ctx, "ip", "route", "get", to)
		if err == nil && strings.Contains(out.Stdout, network.TunnelIPv4) {
			err = errors.New(out.Stdout)
		}
		return err
	})
}

func (p *pair) testServices(t *testing.T) {
	awaitCoreDNS(t, p.Client)
	for _, name := range []string{"box0", "box1"} {
		p.expose(t, name)
	}
	for _, from := range []string{"box0", "box1"} { // one of the two is itself
		for _, to := range []string{"box0", "box1"} {
			if got := p.ExecUntil(t, from, "get", "http://to-"+to+"/hostname"); strings.TrimSpace(got) != to {
				t.Errorf("%s asks for %s and gets %s", from, to, got)
			}
		}
	}
}

func (p *pair) testHostPort(t *testing.T) {
	p.run(t, p.nodes[1], "ported", 8081)
	p.AwaitReady(t, "ported")
	url := "http://" + net.JoinHostPort(p.nodes[1].IP.String(), "8081") + "/hostname"
	for _, from := range []string{"box0", "box1"} {
		if got := p.ExecUntil(t, from, "get", url); strings.TrimSpace(got) != "ported" {
			t.Errorf("%s gets %s", from, got)
		}
	}
	for _, n := range []*lab.Node{p.outside, p.nodes[0]} {
		c, err := n.Dial(t.Context(), "tcp", net.JoinHostPort(p.nodes[1].IP.String(), "8081"))
		if err != nil {
			t.Errorf("from %s: %v", n.Name, err)
			continue
		}
		_ = c.Close()
	}
}

// testRestart kills the loops of both nodes while a connection is in use.
func (p *pair) testRestart(t *testing.T) {
	var c net.Conn
	p.in(t, 0, func() (err error) {
		c, err = net.DialTimeout("tcp", net.JoinHostPort(p.pods[1].Status.PodIP, "9000"), 5*time.Second)
		return err
	})
	if c == nil {
		return
	}
	defer c.Close() //nolint:errcheck // all was read
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.CopyN(io.Discard, c, int64(len(p.pods[0].Status.PodIP)+1)); err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- exchange(c, stop) }()
	for _, n := range p.nodes {
		old := awaitLoop(t, n)
		n.Kill(t, old, unix.SIGKILL)
		lab.Until(t, patience, "see the loop started again and the node's pods", func(context.Context) error {
			now, err := loopOf(t, n)
			if err == nil && now.PID == old.PID {
				err = errors.New("it is the old one")
			}
			return err
		})
		// It has looked at its network before it runs a pod there.
		p.run(t, n, "after-"+n.Name, 0)
		p.AwaitReady(t, "after-"+n.Name)
	}
	close(stop)
	lab.Must(t, <-ended)
}

// exchange sends byte after byte and waits for each to come back, and returns what
// broke that. What is lost is sent again after a fifth of a second, and each further
// time takes twice as long: a break of two seconds is three times. A slow machine loses
// nothing.
func exchange(c net.Conn, stop <-chan struct{}) error {
	before, err := sentAgain(c)
	if err != nil {
		return err
	}
	for buf := []byte{'.'}; ; {
		select {
		case <-stop:
			return nil
		default:
		}
		sent := time.Now()
		_ = c.SetDeadline(sent.Add(patience))
		if _, err := c.Write(buf); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			return err
		}
		took := time.Since(sent)
		after, err := sentAgain(c)
		if err != nil {
			return err
		}
		if again := after - before; took > 2*time.Second && again >= 3 {
			return fmt.Errorf("an answer took %v, and was asked for %d times more", took, again)
		}
		before = after
	}
}

// sentAgain returns how many packets of a connection had to be sent again.
func sentAgain(c net.Conn) (packets uint32, err error) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var info *unix.TCPInfo
	var failed error
	err = raw.Control(func(fd uintptr) { info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err := errors.Join(err, failed); err != nil {
		return 0, err
	}
	return info.Total_retrans, nil
}

const dualStackConfig = networkConfig + `---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
networking: {podSubnet: "10.244.0.0/16,fd00:244::/56", serviceSubnet: "10.96.0.0/16,fd00:96::/112"}
---
apiVersion: boot.internal/v1
kind: BootConfiguration
network: flannel
flannel: {backend: host-gw}
`

// The same with IPv6 beside IPv4, and without tunnels.
func TestNetworkDualStack(t *testing.T) {
	p := newPair(t, lab.NewLAN(t, lab.DualStack), dualStackConfig)
	p.tellers(t)
	a4, a6 := familiesOf(t, p.pods[0].Status.PodIPs)
	b4, b6 := familiesOf(t, p.pods[1].Status.PodIPs)
	t.Run("pods see each other as they are", func(t *testing.T) {
		p.in(t, 0, sees(b4, a4))
		p.in(t, 1, sees(a4, b4))
		p.in(t, 0, sees(b6, a6))
		p.in(t, 1, sees(a6, b6))
	})
	t.Run("the outside sees the node", func(t *testing.T) {
		p.in(t, 0, sees(p.outside.IP.String(), p.nodes[0].IP.String()))
		p.in(t, 1, sees(p.outside.IP6.String(), p.nodes[1].IP6.String()))
	})
	t.Run("nothing takes room in packets", func(t *testing.T) {
		p.in(t, 0, large(b4, 1500))
		if out, err := p.nodes[0].Try(t.Context(), "ip", "link", "show", "type", "vxlan"); err != nil || out.Stdout != "" {
			t.Errorf("there is a tunnel: %s, %v", out.Stdout, err)
		}
	})
	t.Run("a Service of both families", func(t *testing.T) {
		s := p.expose(t, "box1", corev1.IPv4Protocol, corev1.IPv6Protocol)
		for _, ip := range s.Spec.ClusterIPs {
			for _, from := range []string{"box0", "box1"} {
				if got := p.ExecUntil(t, from, "get", "http://"+net.JoinHostPort(ip, "80")+"/hostname"); strings.TrimSpace(got) != "box1" {
					t.Errorf("%s asks %s and gets %s", from, ip, got)
				}
			}
		}
	})
	t.Run("connections outlive a restart of boot", p.testRestart)
}

// familiesOf returns the IPv4 and the IPv6 address of a pod.
func familiesOf(t *testing.T, ips []corev1.PodIP) (v4, v6 string) {
	t.Helper()
	for _, ip := range ips {
		if strings.Contains(ip.IP, ":") {
			v6 = ip.IP
		} else {
			v4 = ip.IP
		}
	}
	if v4 == "" || v6 == "" {
		t.Fatalf("the pod has addresses %v", ips)
	}
	return v4, v6
}
