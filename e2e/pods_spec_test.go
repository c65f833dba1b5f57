package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// specTests are about what containers get to see: environment, names, users,
// namespaces.
func specTests() []podTest {
	return []podTest{
		{"environment of all sources", testEnvironment},
		{"environment that comes later", testLateEnvironment},
		{"services in the environment", testServiceLinks},
		{"names are resolved as the pod says", testDNSConfig},
		{"hostnames", testHostnames},
		{"users, groups and capabilities", testSecurity},
		{"users of its own", testHostUsers},
		{"RuntimeClasses", testRuntimeClass},
		{"sysctls", testSysctls},
		{"namespaces of the pod and of the node", testNamespaces},
		{"host ports", testHostPort},
	}
}

// once runs a pod to its end and returns what it wrote.
func (c *podCluster) once(t *testing.T, p *corev1.Pod) string {
	t.Helper()
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	c.Create(t, p)
	c.AwaitPhase(t, p.Name, corev1.PodSucceeded)
	return c.Logs(t, p.Name, p.Spec.Containers[0].Name)
}

// wantLines fails the test for each line that is not there.
func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	have := strings.Split(text, "\n")
	for _, line := range lines {
		if !slices.Contains(have, line) {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
}

func (c *podCluster) secret(t *testing.T, name string, data map[string]string) {
	t.Helper()
	o := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data}
	if _, err := c.Client.CoreV1().Secrets(c.Namespace).Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (c *podCluster) configMap(t *testing.T, name string, data map[string]string) {
	t.Helper()
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	if _, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func named(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }

func fromSecret(name, key string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: named(name), Key: key}}
}

func fromMap(name, key string, optional bool) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named(name), Key: key, Optional: &optional}}
}

func fromField(path string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
}

func testEnvironment(t *testing.T, c *podCluster) {
	c.secret(t, "s", map[string]string{"pass": "word"})
	c.configMap(t, "m", map[string]string{"one": "1", "odd-key.": "2"})
	p := boxPod("env", "env")
	p.Labels = map[string]string{"app": "shop"}
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	p.Spec.InitContainers = []corev1.Container{{
		Name: "writer", Image: testImage, Args: []string{"write", "/v/env", "FROM='a file'"},
		VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v"}},
	}}
	box := &p.Spec.Containers[0]
	box.EnvFrom = []corev1.EnvFromSource{
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("m")}},
		{Prefix: "S_", SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("s")}},
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("none"), Optional: new(true)}},
	}
	box.Env = []corev1.EnvVar{
		{Name: "PASS", ValueFrom: fromSecret("s", "pass")},
		{Name: "ONE", ValueFrom: fromMap("m", "one", false)},
		{Name: "NONE", ValueFrom: fromMap("m", "none", true)},
		{Name: "BOTH", Value: "$(PASS)-$(ONE)-$(one)-$(NONE)"},
		{Name: "APP", ValueFrom: fromField("metadata.labels['app']")},
		{Name: "POD_IP", ValueFrom: fromField("status.podIP")},
		{Name: "NODE", ValueFrom: fromField("spec.nodeName")},
		{Name: "FILE", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{VolumeName: "v", Path: "env", Key: "FROM"}}},
	}
	out := c.once(t, p)
	wantLines(t, out, "one=1", "odd-key.=2", "S_pass=word", "PASS=word", "ONE=1", "BOTH=word-1-1-$(NONE)", "APP=shop",
		"NODE="+c.Name, "FILE=a file", "POD_IP="+c.Get(t, "env").Status.PodIP)
	if strings.Contains(out, "\nNONE=") {
		t.Error("what is optional and missing is set")
	}
}

// testLateEnvironment has a container wait for a Secret, and then for a key of a
// ConfigMap.
func testLateEnvironment(t *testing.T, c *podCluster) {
	p := boxPod("late", "env")
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "S", ValueFrom: fromSecret("s", "k")}, {Name: "M", ValueFrom: fromMap("m", "k", false)}}
	c.Create(t, p)
	waits := func(message string) {
		t.Helper()
		c.Await(t, "late", "waiting", func(p *corev1.Pod) error {
			for _, s := range p.Status.ContainerStatuses {
				if w := s.State.Waiting; w != nil && w.Reason == "CreateContainerConfigError" && w.Message == message {
					return nil
				}
			}
			return fmt.Errorf("it does not wait with %q", message)
		})
	}
	waits(`secret "s" not found`)
	c.AwaitMessage(t, "late", "Failed", exactly(`Error: secret "s" not found`))
	c.configMap(t, "m", map[string]string{"other": "x"})
	c.secret(t, "s", map[string]string{"k": "secret"})
	waits("couldn't find key k in ConfigMap " + c.Namespace + "/m")
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Data: map[string]string{"k": "mapped"}}
	if _, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Update(t.Context(), o, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.AwaitPhase(t, "late", corev1.PodSucceeded)
	wantLines(t, c.Logs(t, "late", "late"), "S=secret", "M=mapped")
}

func testServiceLinks(t *testing.T, c *podCluster) {
	web := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "my-web"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}
	web, err := c.Client.CoreV1().Services(c.Namespace).Create(t.Context(), web, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ip := web.Spec.ClusterIP
	var out string
	lab.Until(t, 4*patience, "see the service in a new pod", func(context.Context) error { // the node hears of it on its own, and a pod takes its time
		p := boxPod("", "env")
		p.GenerateName, p.Spec.Containers[0].Name = "links-", "box"
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		name := c.Create(t, p).Name
		c.AwaitPhase(t, name, corev1.PodSucceeded)
		if out = c.Logs(t, name, "box"); !strings.Contains(out, "MY_WEB") {
			return fmt.Errorf("environment is\n%s", out)
		}
		return nil
	})
	wantLines(t, out, "MY_WEB_SERVICE_HOST="+ip, "MY_WEB_SERVICE_PORT=80", "MY_WEB_SERVICE_PORT_HTTP=80", "MY_WEB_PORT=tcp://"+ip+":80",
		"MY_WEB_PORT_80_TCP_ADDR="+ip, "KUBERNETES_SERVICE_PORT=443")

	p := boxPod("no-links", "env")
	p.Spec.EnableServiceLinks = new(false)
	out = c.once(t, p)
	wantLines(t, out, "KUBERNETES_SERVICE_PORT_HTTPS=443")
	if strings.Contains(out, "MY_WEB") {
		t.Errorf("a pod without service links has them:\n%s", out)
	}
}

func testDNSConfig(t *testing.T, c *podCluster) {
	first := boxPod("cluster-first", "cat", "/etc/resolv.conf")
	domain := c.Namespace + ".svc.cluster.local svc.cluster.local cluster.local"
	if out := c.once(t, first); !strings.Contains(out, "search "+domain) || !strings.Contains(out, "nameserver 10.96.0.10") || !strings.Contains(out, "ndots:5") {
		t.Errorf("ClusterFirst:\n%s", out)
	}
	own := boxPod("own", "cat", "/etc/resolv.conf")
	own.Spec.DNSPolicy = corev1.DNSNone
	own.Spec.DNSConfig = &corev1.PodDNSConfig{
		Nameservers: []string{"192.0.2.1"}, Searches: []string{"a.test", "b.test"},
		Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: new("2")}, {Name: "edns0"}},
	}
	wantLines(t, c.once(t, own), "search a.test b.test", "nameserver 192.0.2.1", "options ndots:2 edns0")

	many := boxPod("many", "sleep", "infinity")
	many.Spec.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}}
	c.Create(t, many)
	if got := c.AwaitEvent(t, "many", "DNSConfigForming"); !strings.HasSuffix(got, "the applied nameserver line is: 10.96.0.10 192.0.2.1 192.0.2.2") {
		t.Errorf("event %q", got)
	}
}

func testHostnames(t *testing.T, c *podCluster) {
	const file = "/proc/sys/kernel/hostname"
	plain := boxPod("plain", "cat", file, "/etc/hosts")
	plain.Spec.HostAliases = []corev1.HostAlias{{IP: "192.0.2.7", Hostnames: []string{"seven", "seven.test"}}}
	out := c.once(t, plain)
	wantLines(t, out, "plain", "# Kubernetes-managed hosts file.", "192.0.2.7\tseven\tseven.test", c.Get(t, "plain").Status.PodIP+"\tplain")

	fqdn := boxPod("fqdn", "cat", file)
	fqdn.Spec.Hostname, fqdn.Spec.Subdomain, fqdn.Spec.SetHostnameAsFQDN = "a", "b", new(true)
	wantLines(t, c.once(t, fqdn), "a.b."+c.Namespace+".svc.cluster.local")

	override := boxPod("override", "cat", file)
	override.Spec.HostnameOverride = new("over.test")
	wantLines(t, c.once(t, override), "over.test")

	long := boxPod("long", "cat", file)
	long.Spec.Hostname, long.Spec.Subdomain, long.Spec.SetHostnameAsFQDN = strings.Repeat("a", 60), "b", new(true)
	c.Create(t, long)
	c.AwaitMessage(t, "long", "FailedCreatePodSandBox", "failed to construct FQDN from pod hostname and cluster domain")
}

func testSecurity(t *testing.T, c *podCluster) {
	p := boxPod("secure", "cat", "/proc/self/status")
	p.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsUser: new(int64(1234)), RunAsGroup: new(int64(2345)), FSGroup: new(int64(3456)), SupplementalGroups: []int64{4567},
		RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	out := c.once(t, p)
	wantLines(t, out, "Uid:\t1234\t1234\t1234\t1234", "Gid:\t2345\t2345\t2345\t2345", "NoNewPrivs:\t1", "Seccomp:\t2",
		"CapBnd:\t0000000000000000", "CapEff:\t0000000000000000")
	if !strings.Contains(out, "Groups:\t2345 3456 4567") {
		t.Errorf("groups:\n%s", out)
	}
	s := statusOf(c.Get(t, "secure"), "secure")
	if s.User == nil || s.User.Linux == nil || s.User.Linux.UID != 1234 || !slices.Contains(s.User.Linux.SupplementalGroups, 4567) {
		t.Errorf("status of the user: %v", s.User)
	}

	open := boxPod("open", "cat", "/proc/self/status")
	open.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_BIND_SERVICE"}},
	}
	wantLines(t, c.once(t, open), "Uid:\t0\t0\t0\t0", "Seccomp:\t0", "NoNewPrivs:\t0", "CapBnd:\t0000000000000400")

	readOnly := boxPod("read-only", "write", "/file", "text")
	readOnly.Spec.RestartPolicy = corev1.RestartPolicyNever
	readOnly.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{ReadOnlyRootFilesystem: new(true)}
	c.Create(t, readOnly)
	c.AwaitPhase(t, "read-only", corev1.PodFailed)

	root := boxPod("no-root", "env")
	root.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: new(true)}
	c.Create(t, root)
	c.AwaitMessage(t, "no-root", "Failed", "^Error: container has runAsNonRoot and image will run as root")
}

func testRuntimeClass(t *testing.T, c *podCluster) {
	for name, handler := range map[string]string{"runc": "runc", "none": "no-such-handler"} {
		class := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: c.Namespace + "-" + name}, Handler: handler}
		if _, err := c.Client.NodeV1().RuntimeClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	good := boxPod("good", "exec-ok")
	good.Spec.RuntimeClassName = new(c.Namespace + "-runc")
	wantLines(t, c.once(t, good), "ok")
	bad := boxPod("bad", "exec-ok")
	bad.Spec.RuntimeClassName = new(c.Namespace + "-none")
	c.Create(t, bad)
	c.AwaitMessage(t, "bad", "FailedCreatePodSandBox", `"no-such-handler"`)
}

func testSysctls(t *testing.T, c *podCluster) {
	p := boxPod("sysctls", "cat", "/proc/sys/kernel/shm_rmid_forced", "/proc/sys/net/ipv4/ip_unprivileged_port_start")
	p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{
		{Name: "kernel.shm_rmid_forced", Value: "1"}, {Name: "net.ipv4.ip_unprivileged_port_start", Value: "80"},
	}}
	if out := c.once(t, p); out != "1\n80\n" {
		t.Errorf("%q", out)
	}
	unsafe := boxPod("unsafe", "exec-ok")
	unsafe.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "kernel.msgmax", Value: "65536"}}}
	c.Create(t, unsafe)
	if failed := c.AwaitPhase(t, "unsafe", corev1.PodFailed); failed.Status.Reason != "SysctlForbidden" {
		t.Errorf("an unsafe sysctl: %s, %s", failed.Status.Reason, failed.Status.Message)
	}
}

func testNamespaces(t *testing.T, c *podCluster) {
	const first = "/proc/1/cmdline"
	if out := c.once(t, boxPod("own", "cat", first)); !strings.Contains(out, first) {
		t.Errorf("the first process of a container is %q", out)
	}
	shared := boxPod("box", "sleep", "infinity")
	shared.Spec.ShareProcessNamespace = new(true)
	c.Create(t, shared)
	c.AwaitReady(t, "box")
	c.awaitBox(t, "pause", "cat", first) // until it is executed, runc's own process is the first
	host := boxPod("host", "cat", first, "/proc/sys/kernel/hostname")
	host.Spec.HostPID, host.Spec.HostNetwork, host.Spec.HostIPC = true, true, true
	out := c.once(t, host)
	if strings.Contains(out, "pause") || strings.Contains(out, first) {
		t.Errorf("the first process of the node is %q", out)
	}
	if p := c.Get(t, "host"); p.Status.PodIP != p.Status.HostIP || p.Status.PodIP == "" {
		t.Errorf("on the network of the node: %s, %s", p.Status.PodIP, p.Status.HostIP)
	}
}

func testHostPort(t *testing.T, c *podCluster) {
	const port = 18080
	p := boxPod("server", "http", ":8080")
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080, HostPort: port}}
	c.Create(t, p)
	ip := c.AwaitReady(t, "server").Status.HostIP
	client := boxPod("client", "get", fmt.Sprintf("http://%s:%d/hostname", ip, port))
	client.Spec.RestartPolicy = corev1.RestartPolicyOnFailure // the server may need a moment
	c.Create(t, client)
	c.AwaitPhase(t, "client", corev1.PodSucceeded)
	if out := c.Logs(t, "client", "client"); !strings.Contains(out, "server") {
		t.Errorf("answer %q", out)
	}
}
