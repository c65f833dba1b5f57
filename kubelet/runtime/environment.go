package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/spec"
)

// Objects reads what containers take their environment from.
type Objects interface {
	// Secret and ConfigMap wait, within bounds, for what is not known yet. That
	// there is none their errors say to apierrors.
	Secret(ctx context.Context, namespace, name string) (*v1.Secret, error)
	ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error)
}

// Services knows the services around a pod.
type Services interface {
	// Environment returns the variables by which containers of p find services.
	Environment(ctx context.Context, p *v1.Pod) ([]v1.EnvVar, error)
}

// readEnvironment gathers what the environment of c is made of.
func (r *Runtime) readEnvironment(ctx context.Context, p *v1.Pod, c *v1.Container, in *spec.ContainerInput) (err error) {
	if r.o.Services != nil {
		if in.Services, err = r.o.Services.Environment(ctx, p); err != nil {
			return err
		}
	}
	from := sources{
		r: r, p: p,
		configMaps: map[string]*v1.ConfigMap{}, secrets: map[string]*v1.Secret{}, files: map[spec.EnvFile][]byte{},
	}
	for _, e := range c.EnvFrom {
		if err := from.readWhole(ctx, e); err != nil {
			return err
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		if err := from.readKey(ctx, e.ValueFrom, in.Volumes); err != nil {
			return err
		}
	}
	in.ConfigMaps, in.Secrets, in.EnvFiles = from.configMaps, from.secrets, from.files
	return nil
}

// sources are what was read for one container, each once.
type sources struct {
	r *Runtime
	p *v1.Pod

	configMaps map[string]*v1.ConfigMap
	secrets    map[string]*v1.Secret
	files      map[spec.EnvFile][]byte
}

func (s *sources) readWhole(ctx context.Context, e v1.EnvFromSource) error {
	switch {
	case e.ConfigMapRef != nil:
		return s.configMap(ctx, e.ConfigMapRef.Name, e.ConfigMapRef.Optional)
	case e.SecretRef != nil:
		return s.secret(ctx, e.SecretRef.Name, e.SecretRef.Optional)
	}
	return nil
}

func (s *sources) readKey(ctx context.Context, from *v1.EnvVarSource, volumes map[string]pod.Volume) error {
	switch {
	case from.ConfigMapKeyRef != nil:
		return s.configMap(ctx, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Optional)
	case from.SecretKeyRef != nil:
		return s.secret(ctx, from.SecretKeyRef.Name, from.SecretKeyRef.Optional)
	case from.FileKeyRef != nil:
		return s.file(from.FileKeyRef, volumes)
	}
	return nil
}

func (s *sources) configMap(ctx context.Context, name string, optional *bool) error {
	if _, known := s.configMaps[name]; known {
		return nil
	}
	if s.r.o.Objects == nil {
		return fmt.Errorf("couldn't get configMap %s/%s, no kubeClient defined", s.p.Namespace, name)
	}
	m, err := s.r.o.Objects.ConfigMap(ctx, s.p.Namespace, name)
	if err != nil {
		return missing(err, optional)
	}
	s.configMaps[name] = m
	return nil
}

func (s *sources) secret(ctx context.Context, name string, optional *bool) error {
	if _, known := s.secrets[name]; known {
		return nil
	}
	if s.r.o.Objects == nil {
		return fmt.Errorf("couldn't get secret %s/%s, no kubeClient defined", s.p.Namespace, name)
	}
	o, err := s.r.o.Objects.Secret(ctx, s.p.Namespace, name)
	if err != nil {
		return missing(err, optional)
	}
	s.secrets[name] = o
	return nil
}

// missing lets pass that what is optional does not exist.
func missing(err error, optional *bool) error {
	if ptr.Deref(optional, false) && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// file reads a file of variables. Where there is none, whether that is an error
// is for kubelet/spec to say.
func (s *sources) file(ref *v1.FileKeySelector, volumes map[string]pod.Volume) error {
	key := spec.EnvFile{Volume: ref.VolumeName, Path: ref.Path}
	if _, known := s.files[key]; known {
		return nil
	}
	volume, ok := volumes[ref.VolumeName]
	if !ok || volume.Path == "" {
		return fmt.Errorf("cannot find the volume %q referenced by FileKeyRef", ref.VolumeName)
	}
	data, err := readInside(volume.Path, ref.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("couldn't parse env file: %w", err)
	}
	s.files[key] = data
	return nil
}

// maxEnvFile is more than the environment of a process can hold.
const maxEnvFile = 8 << 20

// readInside reads a file that containers may have put there: no link in it
// leads out of dir, and neither a pipe nor a file without end keeps anyone
// waiting.
func readInside(dir, path string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // it was only looked up in
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("read %s: not a regular file", path))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxEnvFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxEnvFile {
		return nil, fmt.Errorf("read %s: larger than %d bytes", path, maxEnvFile)
	}
	return data, nil
}
