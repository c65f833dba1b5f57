package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/e2e/internal/lab"
)

// objectsTests are about what pods are made of beside their own spec: objects of
// the API that volumes show.
func objectsTests() []podTest {
	return []podTest{
		{"volumes of ConfigMaps and Secrets", testObjectVolumes},
		{"volumes follow what they show", testVolumesFollow},
		{"a Secret that is missing", testMissingSecret},
		{"a pod talks to the API server", testServiceAccount},
	}
}

// mount gives a pod a volume, which all its containers mount at /NAME.
func (c *podCluster) mount(p *corev1.Pod, name string, src corev1.VolumeSource) {
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: src})
	for i := range p.Spec.Containers {
		p.Spec.Containers[i].VolumeMounts = append(p.Spec.Containers[i].VolumeMounts, corev1.VolumeMount{Name: name, MountPath: "/" + name})
	}
}

// box runs testbox in the first container of the running pod box.
func (c *podCluster) box(ctx context.Context, t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := c.Try(ctx, append([]string{
		lab.Component(t, "bin/kubectl"), "--kubeconfig", adminConf, "-n", c.Namespace, "exec", "box", "--", "/testbox",
	}, args...)...)
	if err == nil && out.Code != 0 {
		err = fmt.Errorf("exit code %d: %s", out.Code, out.Stderr)
	}
	return out.Stdout, err
}

// mustBox is box that goes well.
func (c *podCluster) mustBox(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.box(t.Context(), t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// awaitBox waits until what testbox says is wanted.
func (c *podCluster) awaitBox(t *testing.T, want string, args ...string) {
	t.Helper()
	lab.Until(t, patience, "read "+want, func(ctx context.Context) error {
		out, err := c.box(ctx, t, args...)
		if err != nil {
			return err
		}
		if !strings.Contains(out, want) {
			return fmt.Errorf("it says %q", out)
		}
		return nil
	})
}

func (c *podCluster) createConfigMap(t *testing.T, name string, data map[string]string, raw map[string][]byte) {
	t.Helper()
	if _, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data, BinaryData: raw,
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (c *podCluster) createSecret(t *testing.T, name string, data map[string]string) {
	t.Helper()
	if _, err := c.Client.CoreV1().Secrets(c.Namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data,
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func testObjectVolumes(t *testing.T, c *podCluster) {
	c.createConfigMap(t, "conf", map[string]string{"text": "hello", "other": "unseen"}, map[string][]byte{"raw": []byte("bytes")})
	c.createSecret(t, "secret", map[string]string{"password": "swordfish"})
	p := boxPod("box", "sleep", "infinity")
	p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(1000)), FSGroup: new(int64(2000))}
	conf := corev1.LocalObjectReference{Name: "conf"}
	c.mount(p, "conf", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: conf, DefaultMode: new(int32(0o400)),
		Items: []corev1.KeyToPath{{Key: "text", Path: "a/b"}, {Key: "raw", Path: "raw", Mode: new(int32(0o550))}},
	}})
	c.mount(p, "secret", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "secret"}})
	c.mount(p, "none", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "none", Optional: new(true)}})
	c.mount(p, "all", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: conf}},
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "secret"}}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "name", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}},
		}}},
	}}})
	c.mount(p, "scratch", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})
	mounts := &p.Spec.Containers[0].VolumeMounts
	*mounts = append(*mounts,
		corev1.VolumeMount{Name: "conf", MountPath: "/one", SubPath: "a/b"},
		corev1.VolumeMount{Name: "scratch", MountPath: "/conf/sub"}, // into what is read-only
	)
	c.Create(t, p)
	c.AwaitReady(t, "box")
	c.mustBox(t, "write", "/conf/sub/f", "text")
	if got := c.mustBox(t, "cat", "/one"); got != "hello" {
		t.Errorf("the part of the volume holds %q", got)
	}
	if got := c.mustBox(t, "cat", "/conf/a/b", "/conf/raw", "/secret/password", "/all/other", "/all/password", "/all/name"); got !=
		"hellobytesswordfishunseenswordfishbox" {
		t.Errorf("the volumes hold %q", got)
	}
	for dir, want := range map[string]string{
		"/conf/a": "-r--r-----", "/conf/..data": "-r-xr-x---", "/all/..data": "-rw-r--r--",
	} {
		if got := c.mustBox(t, "ls", dir+"/"); !strings.Contains(got, want) {
			t.Errorf("%s is\n%s, want %s", dir, got, want)
		}
	}
	c.mustBox(t, "ls", "/none/..data")
	for _, dir := range []string{"/conf", "/secret", "/all"} {
		if _, err := c.box(t.Context(), t, "write", dir+"/new", "text"); err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("writing into %s: %v", dir, err)
		}
	}
}

func testVolumesFollow(t *testing.T, c *podCluster) {
	c.createConfigMap(t, "conf", map[string]string{"k": "one"}, nil)
	c.createSecret(t, "secret", map[string]string{"k": "one"})
	p := boxPod("box", "sleep", "infinity")
	p.Labels = map[string]string{"stage": "one"}
	c.mount(p, "conf", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "conf"}}})
	c.mount(p, "secret", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "secret"}})
	c.mount(p, "info", corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
		{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
	}}})
	c.mount(p, "later", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "later", Optional: new(true)}})
	c.Create(t, p)
	p = c.AwaitReady(t, "box")
	files := []string{"cat", "/conf/k", "/secret/k", "/info/labels"}
	if got := c.mustBox(t, files...); got != `oneonestage="one"` {
		t.Fatalf("the volumes hold %q", got)
	}

	ctx := t.Context()
	start := time.Now()
	if _, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Patch(ctx, "conf", types.MergePatchType, []byte(`{"data":{"k":"two"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	lab.Until(t, patience, "see the file follow", func(context.Context) error {
		return c.Do(func() error { // the directory that it is in goes while another takes its place
			got, err := os.ReadFile("/var/lib/kubelet/pods/" + string(p.UID) + "/volumes/kubernetes.io~configmap/conf/k")
			if err == nil && string(got) != "two" {
				err = fmt.Errorf("it holds %q", got)
			}
			return err
		})
	})
	t.Logf("a ConfigMap was followed after %s", time.Since(start).Round(time.Millisecond))
	if _, err := c.Client.CoreV1().Secrets(c.Namespace).Patch(ctx, "secret", types.MergePatchType, []byte(`{"stringData":{"k":"two"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client.CoreV1().Pods(c.Namespace).Patch(ctx, "box", types.MergePatchType, []byte(`{"metadata":{"labels":{"stage":"two"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.createSecret(t, "later", map[string]string{"k": "come"})
	c.awaitBox(t, `twotwostage="two"`, files...)
	c.awaitBox(t, "come", "cat", "/later/k")
	if p := c.Get(t, "box"); p.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Error("the container was started again")
	}
}

func testMissingSecret(t *testing.T, c *podCluster) {
	p := boxPod("box", "sleep", "infinity")
	c.mount(p, "secret", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "late"}})
	c.Create(t, p)
	c.AwaitMessage(t, "box", "FailedMount", exactly(`MountVolume.SetUp failed for volume "secret" : secret "late" not found`))
	c.Await(t, "box", "waiting", func(p *corev1.Pod) error {
		if p.Status.Phase != corev1.PodPending || len(p.Status.ContainerStatuses) == 0 ||
			p.Status.ContainerStatuses[0].State.Waiting == nil || p.Status.ContainerStatuses[0].State.Waiting.Reason != "ContainerCreating" {
			return fmt.Errorf("it is not waiting")
		}
		return nil
	})
	c.createSecret(t, "late", map[string]string{"k": "v"})
	c.AwaitReady(t, "box")
}

// testServiceAccount uses what every pod is given: a token, and who to trust.
func testServiceAccount(t *testing.T, c *podCluster) {
	const dir = "/var/run/secrets/kubernetes.io/serviceaccount/"
	p := boxPod("box", "sleep", "infinity")
	p.Spec.AutomountServiceAccountToken = nil
	p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "SSL_CERT_FILE", Value: dir + "ca.crt"}}
	p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(1000))}
	c.Create(t, p)
	c.AwaitReady(t, "box")
	if got := c.mustBox(t, "cat", dir+"namespace"); got != c.Namespace {
		t.Errorf("namespace %q", got)
	}
	if got := c.mustBox(t, "ls", dir+"..data/"); !strings.Contains(got, "-rw------- 1000") {
		t.Errorf("the token is not for the user of the pod alone:\n%s", got)
	}
	host := c.mustBox(t, "env", "KUBERNETES_SERVICE_HOST")
	c.awaitBox(t, "gitVersion", "get", "https://"+strings.TrimSpace(host)+"/version")
	token := c.mustBox(t, "cat", dir+"token")
	review, err := c.Client.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if user := review.Status.User; user.Username != "system:serviceaccount:"+c.Namespace+":default" ||
		strings.Join(user.Extra["authentication.kubernetes.io/pod-name"], "") != "box" {
		t.Errorf("the token is of %+v", user)
	}
	p = c.Get(t, "box")
	c.Delete(t, "box", nil)
	c.AwaitGone(t, "box")
	lab.Until(t, patience, "see the token gone", func(context.Context) error {
		if c.Exists(t, "/var/lib/kubelet/pods/"+string(p.UID)) {
			return fmt.Errorf("the directory of the pod is there")
		}
		return nil
	})
}

// volumesAway has objects change while the loop is away, and a container start
// again while the API server is.
func (c *podCluster) volumesAway(t *testing.T) {
	const token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	c.createConfigMap(t, "conf", map[string]string{"k": "one"}, nil)
	p := boxPod("box", "sleep", "infinity")
	p.Spec.AutomountServiceAccountToken = nil
	conf := corev1.LocalObjectReference{Name: "conf"}
	p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "K", ValueFrom: &corev1.EnvVarSource{
		ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: conf, Key: "k"},
	}}}
	c.mount(p, "conf", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: conf}})
	c.Create(t, p)
	before := c.AwaitReady(t, "box")
	was := c.mustBox(t, "cat", token)

	comeBack := sendAway(t, c.Node)
	if _, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Patch(t.Context(), "conf", types.MergePatchType, []byte(`{"data":{"k":"two"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	comeBack()
	c.awaitBox(t, "two", "cat", "/conf/k")
	if now := c.mustBox(t, "cat", token); now != was {
		t.Error("another token was asked for")
	}

	c.restartWithoutAPI(t, before)
	c.Await(t, "box", "restarted", restarted("box"))
	c.awaitBox(t, "two", "env", "K") // an API server that was away for long is started again
	c.Delete(t, "box", nil)
	c.AwaitGone(t, "box")
}
