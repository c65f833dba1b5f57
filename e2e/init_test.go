package e2e

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"boot.internal/e2e/internal/lab"
)

// On a fresh machine, one command brings up a control plane that looks like
// kubeadm's, and the same command again finds nothing to do.
func TestInit(t *testing.T) {
	n := furnished(t, lab.NewLAN(t), "node1")
	args := withToken(t, n)
	n.Boot(t, args...)
	waitReady(t, n)
	client := n.Client(t, adminConf)

	t.Run("the static pods have mirrors", func(t *testing.T) { checkMirrors(t, n, client) })
	t.Run("the node is a control plane", func(t *testing.T) { checkNode(t, client, n.Name) })
	t.Run("the files are kubeadm's", func(t *testing.T) { checkFiles(t, n) })
	t.Run("the configuration is in the cluster", func(t *testing.T) { checkConfigMaps(t, client) })
	t.Run("cluster-info is signed with the token", func(t *testing.T) { checkClusterInfo(t, client) })
	t.Run("CoreDNS is installed", func(t *testing.T) { checkCoreDNS(t, client) })
	t.Run("logs of a static pod", func(t *testing.T) {
		kubectl := lab.Component(t, "bin/kubectl")
		lab.Until(t, patience, "read the log", func(ctx context.Context) error { // the node may not have its serving certificate yet
			out, err := n.Try(ctx, kubectl, "logs", "-n", "kube-system", "kube-scheduler-"+n.Name)
			if err == nil && !strings.Contains(out.Stdout, "Serving securely") {
				err = fmt.Errorf("exit code %d: %s%s", out.Code, out.Stdout, out.Stderr)
			}
			return err
		})
	})
	t.Run("the same again changes nothing", func(t *testing.T) { checkAgain(t, n, client, args) })
}

// withToken returns arguments of boot: init with a token, on a node that does not mind
// how full the disk is.
func withToken(t *testing.T, n *lab.Node) []string {
	t.Helper()
	const file = "/root/token.yaml"
	n.WriteFile(t, file, networkConfig)
	return []string{"init", "--config", file}
}

const token = "e2etok.0123456789abcdef"

// checkMirrors waits until the static pods are all there is, in the cluster and in the
// engine: one that has ended by itself is missing for a moment.
func checkMirrors(t *testing.T, n *lab.Node, client kubernetes.Interface) {
	var inAPI, inEngine []string
	for _, name := range components() {
		inAPI = append(inAPI, fmt.Sprint("kube-system/", name, "-", n.Name, " Running mirror:true ip:", n.IP, " class:system-node-critical"))
		inEngine = append(inEngine, "kube-system/"+name+"-"+n.Name+"/"+name)
	}
	lab.Until(t, patience, "see the pods on the node", func(ctx context.Context) error {
		pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + n.Name})
		if err != nil {
			return err
		}
		return differ(inAPI, mirrorsAmong(pods.Items))
	})
	engine := engineClient(t, n)
	lab.Until(t, patience, "see the containers in the engine", func(ctx context.Context) error {
		running, err := lab.Containers(ctx, engine)
		if err != nil {
			return err
		}
		return differ(inEngine, slices.DeleteFunc(slices.Sorted(maps.Keys(running)), func(name string) bool {
			return isCoreDNS(strings.TrimPrefix(name, "kube-system/"))
		}))
	})
}

// mirrorsAmong tells what there is to tell of the mirrors among pods.
func mirrorsAmong(pods []corev1.Pod) (all []string) {
	for _, p := range pods {
		if isCoreDNS(p.Name) {
			continue
		}
		source := p.Annotations[corev1.MirrorPodAnnotationKey] == p.Annotations["kubernetes.io/config.hash"]
		all = append(all, fmt.Sprint(p.Namespace, "/", p.Name, " ", p.Status.Phase, " mirror:", source, " ip:", p.Status.PodIP, " class:", p.Spec.PriorityClassName))
	}
	return all
}

func differ(want, got []string) error {
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("(-want +got):\n%s", diff)
	}
	return nil
}

// isCoreDNS reports whether a pod is of the add-on, which is none of the static
// pods and comes when it comes.
func isCoreDNS(name string) bool { return strings.HasPrefix(name, "coredns-") }

func checkNode(t *testing.T, client kubernetes.Interface, name string) {
	lab.Until(t, patience, "see the node Ready", func(ctx context.Context) error {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if (c.Type == corev1.NodeReady) != (c.Status == corev1.ConditionTrue) {
				return fmt.Errorf("node is %s=%s: %s", c.Type, c.Status, c.Message)
			}
		}
		// The controller manager takes the taint of a node that is not ready.
		want := []corev1.Taint{{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule}}
		if diff := cmp.Diff(want, node.Spec.Taints); diff != "" {
			return fmt.Errorf("taints (-want +got):\n%s", diff)
		}
		return nil
	})
	node, err := client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range []string{"node-role.kubernetes.io/control-plane", "node.kubernetes.io/exclude-from-external-load-balancers"} {
		if v, ok := node.Labels[label]; !ok || v != "" {
			t.Errorf("label %s is %q, %t", label, v, ok)
		}
	}
}

// checkFiles compares everything below /etc/kubernetes: nothing temporary may
// be left, and nothing secret may be readable.
func checkFiles(t *testing.T, n *lab.Node) {
	t.Helper()
	var want []string
	add := func(mode string, paths ...string) {
		for _, p := range paths {
			want = append(want, p+" "+mode)
		}
	}
	for _, name := range []string{"ca", "apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-ca", "front-proxy-client", "etcd/ca", "etcd/server", "etcd/peer", "etcd/healthcheck-client"} {
		add("644", "pki/"+name+".crt")
		add("600", "pki/"+name+".key")
	}
	add("600", "pki/sa.key", "admin.conf", "super-admin.conf", "kubelet.conf", "controller-manager.conf", "scheduler.conf")
	add("644", "pki/sa.pub")
	for _, name := range components() {
		add("600", "manifests/"+name+".yaml")
	}
	slices.Sort(want)
	got := strings.Split(strings.TrimSpace(n.Run(t, "find", "/etc/kubernetes", "-type", "f", "-printf", `%P %m\n`)), "\n")
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files below /etc/kubernetes (-want +got):\n%s", diff)
	}
}

// checkConfigMaps reads what kubeadm reads at join and upgrade, by kubeadm's
// names of things.
func checkConfigMaps(t *testing.T, client kubernetes.Interface) {
	var cluster struct {
		metav1.TypeMeta   `json:",inline"`
		KubernetesVersion string `json:"kubernetesVersion"`
		CertificatesDir   string `json:"certificatesDir"`
		Networking        struct {
			PodSubnet, ServiceSubnet, DNSDomain string
		} `json:"networking"`
		Etcd struct {
			Local *struct{ DataDir string }
		} `json:"etcd"`
	}
	decode(t, client, "kubeadm-config", "ClusterConfiguration", &cluster)
	if cluster.APIVersion != "kubeadm.k8s.io/v1beta4" || cluster.Kind != "ClusterConfiguration" ||
		!strings.HasPrefix(cluster.KubernetesVersion, "v1.") || cluster.CertificatesDir != "/etc/kubernetes/pki" ||
		cluster.Networking.PodSubnet != "10.244.0.0/16" || cluster.Networking.ServiceSubnet != "10.96.0.0/12" || cluster.Networking.DNSDomain != "cluster.local" ||
		cluster.Etcd.Local == nil || cluster.Etcd.Local.DataDir != "/var/lib/etcd" {
		t.Errorf("kubeadm-config: %+v", cluster)
	}
	var kubelet struct {
		metav1.TypeMeta `json:",inline"`
		ClusterDNS      []string `json:"clusterDNS"`
		StaticPodPath   string   `json:"staticPodPath"`
	}
	decode(t, client, "kubelet-config", "kubelet", &kubelet)
	if kubelet.APIVersion != "kubelet.config.k8s.io/v1beta1" || kubelet.Kind != "KubeletConfiguration" ||
		!slices.Equal(kubelet.ClusterDNS, []string{"10.96.0.10"}) || kubelet.StaticPodPath != "/etc/kubernetes/manifests" {
		t.Errorf("kubelet-config: %+v", kubelet)
	}
}

func decode(t *testing.T, client kubernetes.Interface, name, key string, into any) {
	t.Helper()
	m, err := client.CoreV1().ConfigMaps("kube-system").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(m.Data[key]), into); err != nil || m.Data[key] == "" {
		t.Fatalf("%s of %s: %v: %q", key, name, err, m.Data[key])
	}
}

// checkClusterInfo checks the signature as a node that joins does: it trusts the
// kubeconfig for having been signed by who knows the token.
func checkClusterInfo(t *testing.T, client kubernetes.Interface) {
	id, secret, _ := strings.Cut(token, ".")
	lab.Until(t, patience, "see cluster-info signed", func(ctx context.Context) error {
		m, err := client.CoreV1().ConfigMaps("kube-public").Get(ctx, "cluster-info", metav1.GetOptions{})
		if err != nil {
			return err
		}
		header, signature, ok := strings.Cut(m.Data["jws-kubeconfig-"+id], "..")
		if !ok {
			return fmt.Errorf("no signature in %v", slices.Collect(maps.Keys(m.Data)))
		}
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(header + "." + base64.RawURLEncoding.EncodeToString([]byte(m.Data["kubeconfig"]))))
		if want := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)); signature != want {
			return fmt.Errorf("signed with %s, want %s", signature, want)
		}
		return nil
	})
}

func checkCoreDNS(t *testing.T, client kubernetes.Interface) {
	d, err := client.AppsV1().Deployments("kube-system").Get(t.Context(), "coredns", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r := d.Spec.Replicas; r == nil || *r < 1 {
		t.Errorf("CoreDNS has %v replicas", r)
	}
	awaitCoreDNS(t, client)
	s, err := client.CoreV1().Services("kube-system").Get(t.Context(), "kube-dns", metav1.GetOptions{})
	if err != nil || s.Spec.ClusterIP != "10.96.0.10" {
		t.Errorf("kube-dns has address %q, %v", s.Spec.ClusterIP, err)
	}
}

// checkAgain runs init once more.
func checkAgain(t *testing.T, n *lab.Node, client kubernetes.Interface, args []string) {
	lab.Until(t, patience, "see the node's last file", func(context.Context) error {
		if !n.Exists(t, "/var/lib/kubelet/pki/kubelet-server-current.pem") {
			return errors.New("its serving certificate is not signed yet")
		}
		return nil
	})
	undisturbed(t, n, func() (machine, cluster string) {
		files, objects := settled(n.State(t)), versions(t, client)
		out, err := n.Try(t.Context(), append([]string{lab.BootBinary(t)}, args...)...)
		if err != nil || out.Code != 0 {
			t.Fatalf("%v, exit code %d: %s", err, out.Code, out.Stderr)
		}
		for _, line := range done(out.Stderr) {
			t.Errorf("it found something to do: %s", line)
		}
		return cmp.Diff(files, settled(n.State(t))), cmp.Diff(objects, versions(t, client))
	})
}

// undisturbed does something that is to change nothing on the node of a control plane,
// and nothing of what else do compares. If a component has ended by itself meanwhile,
// as they do when they get no answer from each other for too long, there are changes of
// which nobody can tell whose they are, and it is done again.
func undisturbed(t *testing.T, n *lab.Node, do func() (machine, cluster string)) {
	t.Helper()
	for range 3 {
		before := wholeControlPlane(t, n)
		machine, cluster := do()
		after := wholeControlPlane(t, n)
		if name := startedAgain(before, after); name != "" {
			t.Logf("%s has ended meanwhile, and was started again: %+v", name, after[name])
			continue
		}
		for what, diff := range map[string]string{
			"containers": cmp.Diff(before, after), "the machine": machine, "objects in the cluster": cluster,
		} {
			if diff != "" {
				t.Errorf("%s (-before +after):\n%s", what, diff)
			}
		}
		return
	}
	t.Error("components end all the time")
}

// wholeControlPlane returns the containers on the node once all components run.
func wholeControlPlane(t *testing.T, n *lab.Node) (running map[string]lab.Container) {
	t.Helper()
	engine := engineClient(t, n)
	lab.Until(t, patience, "see all components run", func(ctx context.Context) (err error) {
		if running, err = lab.Containers(ctx, engine); err != nil {
			return err
		}
		for _, name := range components() {
			if _, ok := running["kube-system/"+name+"-"+n.Name+"/"+name]; !ok {
				return fmt.Errorf("%s does not", name)
			}
		}
		return nil
	})
	return running
}

// startedAgain returns which container was started again in its sandbox, if any was.
func startedAgain(before, after map[string]lab.Container) string {
	for name, c := range after {
		if was, known := before[name]; known && was.Sandbox == c.Sandbox && was.Attempt < c.Attempt {
			return name
		}
	}
	return ""
}

// done returns what a command says that it has done: no warnings, for the machine may
// lack something, and not that it has waited for somebody who did not answer at once,
// for the machine may be busy.
func done(stderr string) []string {
	return slices.DeleteFunc(slices.Collect(strings.Lines(stderr)), func(line string) bool {
		return strings.HasPrefix(line, "warning: ") || strings.HasPrefix(line, "[wait-control-plane] ")
	})
}

// settled leaves out of a node's state what changes all the time while a
// cluster is at work.
func settled(state []string) []string {
	return slices.DeleteFunc(state, func(line string) bool {
		for _, busy := range []string{"file /var/lib/etcd/", "file /var/lib/boot/containerd/", "file /var/log/", "file /run/boot/containerd/", "nft ", "process "} {
			if strings.HasPrefix(line, busy) {
				return true
			}
		}
		return false
	})
}

// ownConfigs are the ConfigMaps that the control plane makes for itself, when it comes
// to that.
func ownConfigs() []string {
	return []string{"kube-root-ca.crt", "extension-apiserver-authentication", "kube-apiserver-legacy-service-account-token-tracking"}
}

// versions returns which versions of the objects that init creates are in the
// cluster.
func versions(t *testing.T, client kubernetes.Interface) map[string]string {
	t.Helper()
	all := map[string]string{}
	note := func(kind string, m metav1.ObjectMeta) { all[kind+" "+m.Namespace+"/"+m.Name] = m.ResourceVersion }
	configs, err := client.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range configs.Items {
		if !slices.Contains(ownConfigs(), m.Name) {
			note("ConfigMap", m.ObjectMeta)
		}
	}
	secrets, err := client.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets.Items {
		note("Secret", s.ObjectMeta)
	}
	bindings, err := client.RbacV1().ClusterRoleBindings().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bindings.Items {
		note("ClusterRoleBinding", b.ObjectMeta)
	}
	return all
}
