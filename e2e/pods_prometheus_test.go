package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// prometheusTests are about a real sidecar.
func prometheusTests() []podTest {
	return []podTest{
		{"Prometheus as a sidecar", testPrometheus},
	}
}

// extra imports an image that no cluster needs, and returns its name.
func (c *podCluster) extra(t *testing.T, name string) string {
	t.Helper()
	out := c.Run(t, filepath.Join(filepath.Dir(lab.Component(t, "engine/bin/ctr")), "ctr"),
		"-a", engineSocket, "-n", "k8s.io", "images", "import", "--local", lab.Component(t, "extras/"+name+".tar"))
	image := regexp.MustCompile(`\S+/\S+:\S+`).FindString(out)
	if image == "" {
		t.Fatalf("import %s: %s", name, out)
	}
	return image
}

// testPrometheus runs Prometheus as a sidecar that scrapes the main container over
// localhost. Its configuration is written by an init container before it, to a
// volume that they share, and points at another that is of a ConfigMap.
func testPrometheus(t *testing.T, c *podCluster) {
	image := c.extra(t, "prometheus")
	_, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "scrape"},
		Data: map[string]string{"itself.yml": "scrape_configs:\n- job_name: itself\n  scrape_interval: 1s\n" +
			"  static_configs: [{targets: ['localhost:9090']}]\n"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.Create(t, monitored(image))
	p := c.AwaitReady(t, "app")
	if s := p.Status.InitContainerStatuses[1]; s.State.Running == nil || s.Started == nil || !*s.Started || !s.Ready {
		t.Errorf("sidecar: %+v", s)
	}
	c.awaitTargets(t)
	c.forwarded(t, nil, "pod/app", "9090", func(get func(path string) (string, error)) {
		lab.Until(t, patience, "ask for what was scraped", func(context.Context) error {
			got, err := get("/api/v1/query?query=testbox_scrapes_total%20%3E%200")
			if err == nil && (!strings.Contains(got, `"job":"main"`) || !strings.Contains(got, `"status":"success"`)) {
				err = errors.New(got)
			}
			return err
		})
	})
	c.Delete(t, "app", nil)
	c.AwaitGone(t, "app")
}

// monitored is the pod: who writes the configuration, who reads it, and who is
// scraped.
func monitored(image string) *corev1.Pod {
	const config = "global: {scrape_interval: 1s}\nscrape_config_files: [/more/*.yml]\nscrape_configs:\n" +
		"- job_name: main\n  static_configs: [{targets: ['localhost:8080']}]\n"
	always := corev1.ContainerRestartPolicyAlways
	p := boxPod("app", "http", ":8080")
	p.Spec.TerminationGracePeriodSeconds = new(int64(10))
	p.Spec.Volumes = []corev1.Volume{
		{Name: "config", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "more", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "scrape"},
		}}},
	}
	p.Spec.InitContainers = []corev1.Container{{
		Name: "configure", Image: testImage, Args: []string{"write", "/config/prometheus.yml", config},
		VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/config"}},
	}, {
		Name: "prometheus", Image: image, RestartPolicy: &always,
		Args: []string{"--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"},
		VolumeMounts: []corev1.VolumeMount{
			{Name: "config", MountPath: "/etc/prometheus"}, {Name: "data", MountPath: "/data"}, {Name: "more", MountPath: "/more"},
		},
		StartupProbe: &corev1.Probe{FailureThreshold: 240, PeriodSeconds: 1, TimeoutSeconds: 20, ProbeHandler: getProbe("/-/ready", 9090)},
	}}
	return p
}

func getProbe(path string, port int) corev1.ProbeHandler {
	var h corev1.ProbeHandler
	_ = json.Unmarshal(fmt.Appendf(nil, `{"httpGet":{"path":%q,"port":%d}}`, path, port), &h) // as written here
	return h
}

// awaitTargets waits until Prometheus says that both of its targets are up.
func (c *podCluster) awaitTargets(t *testing.T) {
	t.Helper()
	lab.Until(t, patience, "see both targets up", func(ctx context.Context) error {
		out, err := c.Try(ctx, lab.Component(t, "bin/kubectl"), "-n", c.Namespace, "exec", "app", "-c", "app", "--",
			"get", "http://localhost:9090/api/v1/targets")
		if err != nil {
			return err
		}
		if n := strings.Count(out.Stdout, `"health":"up"`); n != 2 {
			return fmt.Errorf("%d are up: %s%s", n, out.Stdout, out.Stderr)
		}
		return nil
	})
}

// moduleDir returns where the source of a component is that images/ builds.
func moduleDir(t *testing.T, wrapper, module string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-C", filepath.Join("..", "images", wrapper), "-m", "-f", "{{.Dir}}", module)
	cmd.Env = append(cmd.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("find %s: %v", module, err)
	}
	return strings.TrimSpace(string(out))
}
