package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"boot.internal/kubelet/pod"
	"boot.internal/nstest"
)

// A cluster holds what volumes are filled with.
type cluster struct {
	secrets    map[string]map[string][]byte
	configMaps map[string]*v1.ConfigMap
	err        error // of everything
}

func missing(kind, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: kind}, name)
}

func (c *cluster) Secret(_ context.Context, _, name string) (*v1.Secret, error) {
	if data, ok := c.secrets[name]; ok && c.err == nil {
		return &v1.Secret{Data: data}, nil
	}
	return nil, either(c.err, missing("secret", name))
}

func (c *cluster) ConfigMap(_ context.Context, _, name string) (*v1.ConfigMap, error) {
	if cm, ok := c.configMaps[name]; ok && c.err == nil {
		return cm, nil
	}
	return nil, either(c.err, missing("configmap", name))
}

func (c *cluster) Token(_ context.Context, p *v1.Pod, audience string, _ *int64, _ []byte) ([]byte, error) {
	return []byte("token of " + p.Name + " for " + audience), c.err
}

func (c *cluster) Bundle(context.Context, *v1.ClusterTrustBundleProjection) ([]byte, error) {
	return []byte("anchors"), c.err
}

func (c *cluster) Certificate(_ context.Context, _ *v1.Pod, _ string, _ int) (key, chain []byte, err error) {
	return []byte("key\n"), []byte("chain\n"), c.err
}

func either(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// newCluster returns volumes that are filled from a cluster with one Secret and
// one ConfigMap.
func newCluster(t *testing.T) (*cluster, *Volumes) {
	t.Helper()
	c := &cluster{
		secrets: map[string]map[string][]byte{"s": {"user": []byte("me"), "password": []byte("\x00\x01")}},
		configMaps: map[string]*v1.ConfigMap{"c": {
			Data: map[string]string{"text": "hello", "other": "x"}, BinaryData: map[string][]byte{"raw": {0xff}},
		}},
	}
	v := newVolumes(t)
	v.Objects, v.Tokens, v.Bundles, v.Certificates = c, c, c, c
	unmountLater(t, v)
	return c, v
}

// unmountLater removes the volumes of the test's pod before its directory is.
func unmountLater(t *testing.T, v *Volumes) {
	t.Helper()
	t.Cleanup(func() {
		if err := v.Teardown(t.Context(), "uid-1"); err != nil {
			t.Error(err)
		}
	})
}

func configMapVolume(name string, change func(*v1.ConfigMapVolumeSource)) v1.Volume {
	src := &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: name}}
	if change != nil {
		change(src)
	}
	return v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{ConfigMap: src}}
}

func secretVolume(name string, change func(*v1.SecretVolumeSource)) v1.Volume {
	src := &v1.SecretVolumeSource{SecretName: name}
	if change != nil {
		change(src)
	}
	return v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{Secret: src}}
}

func projectedVolume(sources ...v1.VolumeProjection) v1.Volume {
	return v1.Volume{Name: "v", VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: sources}}}
}

func TestContent(t *testing.T) {
	local := v1.LocalObjectReference{Name: "c"}
	for name, tc := range map[string]struct {
		volume v1.Volume
		want   map[string]string
	}{
		"configMap": {configMapVolume("c", nil), map[string]string{"text": "hello", "other": "x", "raw": "\xff"}},
		"configMap items": {
			configMapVolume("c", func(s *v1.ConfigMapVolumeSource) {
				s.Items = []v1.KeyToPath{{Key: "text", Path: "a/b"}, {Key: "raw", Path: "raw"}}
			}),
			map[string]string{"a/b": "hello", "raw": "\xff"},
		},
		"optional configMap": {
			configMapVolume("none", func(s *v1.ConfigMapVolumeSource) { s.Optional = new(true) }), map[string]string{},
		},
		"optional key": {
			configMapVolume("c", func(s *v1.ConfigMapVolumeSource) {
				s.Optional, s.Items = new(true), []v1.KeyToPath{{Key: "none", Path: "f"}, {Key: "text", Path: "t"}}
			}),
			map[string]string{"t": "hello"},
		},
		"secret": {secretVolume("s", nil), map[string]string{"user": "me", "password": "\x00\x01"}},
		"optional secret": {
			secretVolume("none", func(s *v1.SecretVolumeSource) { s.Optional = new(true) }), map[string]string{},
		},
		"projected": {
			projectedVolume(
				v1.VolumeProjection{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: local, Items: []v1.KeyToPath{{Key: "text", Path: "t"}}}},
				v1.VolumeProjection{Secret: &v1.SecretProjection{LocalObjectReference: v1.LocalObjectReference{Name: "s"}, Items: []v1.KeyToPath{{Key: "user", Path: "t"}}}},
				v1.VolumeProjection{Secret: &v1.SecretProjection{LocalObjectReference: v1.LocalObjectReference{Name: "none"}, Optional: new(true)}},
				v1.VolumeProjection{DownwardAPI: &v1.DownwardAPIProjection{Items: []v1.DownwardAPIVolumeFile{field("name", "metadata.name")}}},
				v1.VolumeProjection{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token", Audience: "vault"}},
				v1.VolumeProjection{ClusterTrustBundle: &v1.ClusterTrustBundleProjection{Path: "ca/bundle"}},
				v1.VolumeProjection{PodCertificate: &v1.PodCertificateProjection{CredentialBundlePath: "all", KeyPath: "k", CertificateChainPath: "c"}},
			),
			map[string]string{
				"t": "me", "name": "p", "token": "token of p for vault", "ca/bundle": "anchors", // the later of two wins
				"all": "key\nchain\n", "k": "key\n", "c": "chain\n",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			nstest.Unshare(t, unix.CLONE_NEWNS)
			_, v := newCluster(t)
			if diff := cmp.Diff(tc.want, content(t, setup(t, v, newPod(tc.volume)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestContentRefuses(t *testing.T) {
	static := newPod(secretVolume("s", nil))
	static.Annotations = map[string]string{pod.ConfigSource: pod.SourceFile}
	for name, tc := range map[string]struct {
		pod  *v1.Pod
		want string
	}{
		"configMap": {newPod(configMapVolume("y", nil)), `MountVolume.SetUp failed for volume "v" : configmap "y" not found`},
		"secret":    {newPod(secretVolume("y", nil)), `MountVolume.SetUp failed for volume "v" : secret "y" not found`},
		"key": {
			newPod(configMapVolume("c", func(s *v1.ConfigMapVolumeSource) { s.Items = []v1.KeyToPath{{Key: "k", Path: "p"}} })),
			`MountVolume.SetUp failed for volume "v" : configmap references non-existent config key: k`,
		},
		"secret key": {
			newPod(secretVolume("s", func(s *v1.SecretVolumeSource) { s.Items = []v1.KeyToPath{{Key: "k", Path: "p"}} })),
			`MountVolume.SetUp failed for volume "v" : references non-existent secret key: k`,
		},
		"projected": {
			newPod(projectedVolume(
				v1.VolumeProjection{Secret: &v1.SecretProjection{LocalObjectReference: v1.LocalObjectReference{Name: "a"}}},
				v1.VolumeProjection{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: "b"}}},
			)),
			`MountVolume.SetUp failed for volume "v" : [secret "a" not found, configmap "b" not found]`,
		},
		"static pod": {static, `MountVolume.SetUp failed for volume "v" : static pods cannot use volumes of kind secret`},
	} {
		t.Run(name, func(t *testing.T) {
			nstest.Unshare(t, unix.CLONE_NEWNS)
			_, v := newCluster(t)
			_, err := v.Setup(t.Context(), tc.pod)
			if err == nil || err.Error() != tc.want {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if _, err := os.Stat(v.path(tc.pod.UID, plugin(&tc.pod.Spec.Volumes[0].VolumeSource), "v")); err == nil {
				t.Error("a volume was made for nothing")
			}
		})
	}
}

func TestSecretsLieInMemory(t *testing.T) {
	for name, tc := range map[string]struct {
		volume v1.Volume
		memory bool
	}{
		"secret":    {secretVolume("s", nil), true},
		"projected": {projectedVolume(), true},
		"configMap": {configMapVolume("c", nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			nstest.Unshare(t, unix.CLONE_NEWNS)
			_, v := newCluster(t)
			p := newPod(tc.volume)
			dir := setup(t, v, p)
			var fs, above unix.Statfs_t
			if err := errors.Join(unix.Statfs(dir, &fs), unix.Statfs(v.PodsDir, &above)); err != nil {
				t.Fatal(err)
			}
			if own := fs.Fsid != above.Fsid; own != tc.memory {
				t.Errorf("a file system of its own: %v", own)
			}
			if err := v.Teardown(t.Context(), p.UID); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestModesAndOwners(t *testing.T) {
	token := v1.VolumeProjection{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token"}}
	for name, tc := range map[string]struct {
		volume v1.Volume
		change func(*v1.Pod)
		path   string
		mode   os.FileMode
		uid    uint32
	}{
		"default":       {configMapVolume("c", nil), nil, "text", 0o644, 0},
		"mode":          {configMapVolume("c", func(s *v1.ConfigMapVolumeSource) { s.DefaultMode = new(int32(0o400)) }), nil, "text", 0o400, 0},
		"mode and user": {secretVolume("s", func(s *v1.SecretVolumeSource) { s.DefaultUser = new(int64(7)) }), nil, "user", 0o644, 7},
		"item": {configMapVolume("c", func(s *v1.ConfigMapVolumeSource) {
			s.DefaultMode, s.Items = new(int32(0o400)), []v1.KeyToPath{{Key: "text", Path: "t", Mode: new(int32(0o755))}}
		}), nil, "t", 0o755, 0},
		"group": {secretVolume("s", func(s *v1.SecretVolumeSource) { s.DefaultMode = new(int32(0o400)) }), func(p *v1.Pod) {
			p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(2000))}
		}, "user", 0o440, 0},
		"token": {projectedVolume(token), nil, "token", 0o644, 0},
		"token of one user": {projectedVolume(token), func(p *v1.Pod) {
			p.Spec.SecurityContext = &v1.PodSecurityContext{RunAsUser: new(int64(1000))}
		}, "token", 0o600, 1000},
		"token of two users": {projectedVolume(token), func(p *v1.Pod) {
			p.Spec.SecurityContext = &v1.PodSecurityContext{RunAsUser: new(int64(1000))}
			p.Spec.InitContainers = []v1.Container{{Name: "i", SecurityContext: &v1.SecurityContext{RunAsUser: new(int64(0))}}}
		}, "token", 0o644, 0},
		"token of a group": {projectedVolume(token), func(p *v1.Pod) {
			p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(2000))}
		}, "token", 0o640, 0},
	} {
		t.Run(name, func(t *testing.T) {
			nstest.Unshare(t, unix.CLONE_NEWNS)
			_, v := newCluster(t)
			p := newPod(tc.volume)
			if tc.change != nil {
				tc.change(p)
			}
			fi, err := os.Stat(filepath.Join(setup(t, v, p), tc.path))
			if err != nil {
				t.Fatal(err)
			}
			if fi.Mode() != tc.mode || !ownedBy(fi, new(int64(tc.uid))) {
				t.Errorf("mode %v, owned by %d: %v", fi.Mode(), tc.uid, ownedBy(fi, new(int64(tc.uid))))
			}
		})
	}
}

func TestRefresh(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	c, v := newCluster(t)
	p := newPod(configMapVolume("c", nil))
	if err := v.Refresh(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(v.PodsDir, "uid-1")); err == nil {
		t.Fatal("made a volume that nobody set up")
	}
	dir := setup(t, v, p)
	c.configMaps["c"] = &v1.ConfigMap{Data: map[string]string{"new": "1"}}
	if err := v.Refresh(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"new": "1"}, content(t, dir)); diff != "" {
		t.Error(diff)
	}

	delete(c.configMaps, "c")
	err := v.Refresh(t.Context(), p)
	if err == nil || !strings.Contains(err.Error(), `configmap "c" not found`) {
		t.Errorf("error %v", err)
	}
	// A container that is started again gets what is there.
	if diff := cmp.Diff(map[string]string{"new": "1"}, content(t, setup(t, v, p))); diff != "" {
		t.Error(diff)
	}
	// What an earlier process left is no excuse: it may be older than the pod.
	fresh := New(v.Options)
	if _, err := fresh.Setup(t.Context(), p); err == nil {
		t.Error("took what an earlier process left")
	}

	if err := v.Teardown(t.Context(), p.UID); err != nil {
		t.Fatal(err)
	}
	c.configMaps["c"] = &v1.ConfigMap{}
	if err := v.Refresh(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(v.PodsDir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestMountpointsInside(t *testing.T) {
	_, v := newCluster(t)
	p := newPod(configMapVolume("c", nil))
	for _, path := range []string{"/v/logs/today", "/v/text", "/elsewhere"} {
		p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, v1.VolumeMount{Name: "w", MountPath: path})
	}
	dir := setup(t, v, p)
	if fi, err := os.Stat(filepath.Join(dir, "logs/today")); err != nil || !fi.IsDir() {
		t.Errorf("no place to mount: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "text")); err != nil || string(data) != "hello" {
		t.Errorf("a file was replaced: %q, %v", data, err)
	}
	setup(t, v, p)
	if _, err := os.Stat(filepath.Join(dir, "logs/today")); err != nil {
		t.Error(err)
	}
}
