package runtime_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
)

// objects has a Secret and a ConfigMap, and says nothing of those called "down".
type objects struct{}

var errDown = errors.New("failed to sync cache: down")

func (objects) Secret(_ context.Context, ns, name string) (*v1.Secret, error) {
	switch ns + "/" + name {
	case "shop/s":
		return &v1.Secret{Data: map[string][]byte{"k": []byte("secret")}}, nil
	case "shop/down":
		return nil, errDown
	}
	return nil, apierrors.NewNotFound(v1.Resource("secret"), name)
}

func (objects) ConfigMap(_ context.Context, ns, name string) (*v1.ConfigMap, error) {
	switch ns + "/" + name {
	case "shop/m":
		return &v1.ConfigMap{Data: map[string]string{"k": "mapped"}}, nil
	case "shop/down":
		return nil, errDown
	}
	return nil, apierrors.NewNotFound(v1.Resource("configmap"), name)
}

type services struct{ err error }

func (s services) Environment(_ context.Context, p *v1.Pod) ([]v1.EnvVar, error) {
	return []v1.EnvVar{{Name: "SERVICES_OF", Value: p.Namespace}}, s.err
}

func secretKey(name string, optional bool) *v1.EnvVarSource {
	s := &v1.SecretKeySelector{Key: "k", Optional: &optional}
	s.Name = name
	return &v1.EnvVarSource{SecretKeyRef: s}
}

func configMapKey(name string, optional bool) *v1.EnvVarSource {
	s := &v1.ConfigMapKeySelector{Key: "k", Optional: &optional}
	s.Name = name
	return &v1.EnvVarSource{ConfigMapKeyRef: s}
}

func fileKey(volume, path string, optional bool) *v1.EnvVarSource {
	return &v1.EnvVarSource{FileKeyRef: &v1.FileKeySelector{VolumeName: volume, Path: path, Key: "k", Optional: &optional}}
}

func wholeSecret(name string, optional bool) v1.EnvFromSource {
	s := &v1.SecretEnvSource{Optional: &optional}
	s.Name = name
	return v1.EnvFromSource{SecretRef: s}
}

func wholeConfigMap(name string, optional bool) v1.EnvFromSource {
	m := &v1.ConfigMapEnvSource{Optional: &optional}
	m.Name = name
	return v1.EnvFromSource{ConfigMapRef: m}
}

// startWith starts a container with the environment, with what is in a volume.
func startWith(t *testing.T, from []v1.EnvFromSource, env []v1.EnvVar, set func(*runtime.Options)) (map[string]string, error) {
	t.Helper()
	_, o, w := newFake(t)
	requests := &tap{RuntimeServiceClient: o.CRI}
	o.CRI, o.Objects, o.Services = requests, objects{}, services{}
	if set != nil {
		set(&o)
	}
	fill(t, filepath.Join(w.Dir, "scratch"))
	p := onePod()
	p.Spec.Containers[0].EnvFrom, p.Spec.Containers[0].Env = from, env
	r := runtime.New(o)
	if err := r.Do(t.Context(), p, pod.CreateSandbox{}); err != nil {
		t.Fatal(err)
	}
	err := r.Do(t.Context(), p, pod.StartContainer{Name: "a", Sandbox: pod.Sandbox{ID: "sandbox-1"}})
	if err != nil {
		return nil, err
	}
	return requests.environment(), nil
}

// fill makes what a container could have left in a volume.
func fill(t *testing.T, dir string) {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	huge := filepath.Join(dir, "huge")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "sub"), 0o755),
		os.WriteFile(filepath.Join(dir, "sub", "env"), []byte("k='file'\n"), 0o600),
		os.WriteFile(secret, []byte("k='of the node'\n"), 0o600),
		os.Symlink(secret, filepath.Join(dir, "out")),
		os.Symlink("sub/env", filepath.Join(dir, "in")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
		os.WriteFile(huge, nil, 0o600),
		os.Truncate(huge, 1<<40),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	got, err := startWith(t,
		[]v1.EnvFromSource{{Prefix: "P_", SecretRef: wholeSecret("s", false).SecretRef}, wholeConfigMap("m", false), wholeSecret("none", true), wholeConfigMap("none", true)},
		[]v1.EnvVar{
			{Name: "SECRET", ValueFrom: secretKey("s", false)},
			{Name: "MAPPED", ValueFrom: configMapKey("m", false)},
			{Name: "NO_SECRET", ValueFrom: secretKey("none", true)},
			{Name: "NO_MAP", ValueFrom: configMapKey("none", true)},
			{Name: "FILE", ValueFrom: fileKey("scratch", "sub/env", false)},
			{Name: "LINK", ValueFrom: fileKey("scratch", "in", false)},
			{Name: "NO_FILE", ValueFrom: fileKey("scratch", "none", true)},
		}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"k": "mapped", "P_k": "secret", "SECRET": "secret", "MAPPED": "mapped", "FILE": "file", "LINK": "file", "SERVICES_OF": "shop",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestNoEnvironment shows what keeps a container from its environment, in the
// words of its status.
func TestNoEnvironment(t *testing.T) {
	one := func(from *v1.EnvVarSource) []v1.EnvVar { return []v1.EnvVar{{Name: "X", ValueFrom: from}} }
	noAPI := func(o *runtime.Options) { o.Objects = nil }
	for _, c := range []struct {
		name string
		from []v1.EnvFromSource
		env  []v1.EnvVar
		set  func(*runtime.Options)
		want string
	}{
		{name: "no secret", env: one(secretKey("none", false)), want: `secret "none" not found`},
		{name: "no map", env: one(configMapKey("none", false)), want: `configmap "none" not found`},
		{name: "no whole secret", from: []v1.EnvFromSource{wholeSecret("none", false)}, want: `secret "none" not found`},
		{name: "no whole map", from: []v1.EnvFromSource{wholeConfigMap("none", false)}, want: `configmap "none" not found`},
		{
			name: "once optional, once not", from: []v1.EnvFromSource{wholeSecret("none", true)}, env: one(secretKey("none", false)),
			want: `secret "none" not found`,
		},
		{name: "optional, but not known", env: one(secretKey("down", true)), want: errDown.Error()},
		{name: "optional map, but not known", env: one(configMapKey("down", true)), want: errDown.Error()},
		{name: "a secret without an API", env: one(secretKey("s", false)), set: noAPI, want: "couldn't get secret shop/s, no kubeClient defined"},
		{name: "a map without an API", env: one(configMapKey("m", true)), set: noAPI, want: "couldn't get configMap shop/m, no kubeClient defined"},
		{name: "no volume", env: one(fileKey("none", "env", true)), want: `cannot find the volume "none" referenced by FileKeyRef`},
		{name: "no file", env: one(fileKey("scratch", "none", false)), want: `environment variable key "k" not found in file "none"`},
		{name: "a link out of the volume", env: one(fileKey("scratch", "out", true)), want: "couldn't parse env file: openat out: path escapes from parent"},
		{name: "a path out of the volume", env: one(fileKey("scratch", "../secret", true)), want: "couldn't parse env file: openat ../secret: path escapes from parent"},
		{name: "a pipe", env: one(fileKey("scratch", "pipe", true)), want: "couldn't parse env file: read pipe: not a regular file"},
		{name: "a directory", env: one(fileKey("scratch", "sub", true)), want: "couldn't parse env file: read sub: not a regular file"},
		{name: "a file without end", env: one(fileKey("scratch", "huge", true)), want: "couldn't parse env file: read huge: larger than 8388608 bytes"},
		{name: "no services", set: func(o *runtime.Options) { o.Services = services{errDown} }, want: errDown.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := startWith(t, c.from, c.env, c.set)
			var failed *pod.ActionError
			if !errors.As(err, &failed) || failed.Reason != "CreateContainerConfigError" || failed.Error() != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}
