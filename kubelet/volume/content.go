package volume

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"boot.internal/kubelet/pod"
)

// Objects know the Secrets and ConfigMaps that pods name. What there is none
// of is NotFound to apierrors.
type Objects interface {
	Secret(ctx context.Context, namespace, name string) (*v1.Secret, error)
	ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error)
}

// A file is one file of a volume that boot writes.
type file struct {
	data  []byte
	mode  os.FileMode
	owner *int64 // UID; nil is root
}

// plugin returns the name, in the paths of upstream, of what makes a volume
// that boot fills with files, and "" for any other.
func plugin(src *v1.VolumeSource) string {
	switch {
	case src.ConfigMap != nil:
		return "configmap"
	case src.Secret != nil:
		return "secret"
	case src.Projected != nil:
		return "projected"
	case src.DownwardAPI != nil:
		return "downward-api"
	default:
		return ""
	}
}

// secretive reports whether a volume is to lie in memory and never on a disk.
func secretive(src *v1.VolumeSource) bool { return src.Secret != nil || src.Projected != nil }

// content returns the files that a volume is to hold now.
func (v *Volumes) content(ctx context.Context, p *v1.Pod, vol *v1.Volume) (map[string]file, error) {
	switch src := vol.VolumeSource; {
	case src.ConfigMap != nil:
		c := src.ConfigMap
		data, err := v.configMap(ctx, p, c.Name, isTrue(c.Optional))
		if err != nil {
			return nil, err
		}
		return keys{data, "configmap references non-existent config key", c.Items, c.DefaultMode, c.DefaultUser, isTrue(c.Optional)}.files()
	case src.Secret != nil:
		s := src.Secret
		data, err := v.secret(ctx, p, s.SecretName, isTrue(s.Optional))
		if err != nil {
			return nil, err
		}
		return keys{data, "references non-existent secret key", s.Items, s.DefaultMode, s.DefaultUser, isTrue(s.Optional)}.files()
	case src.Projected != nil:
		return v.projected(ctx, p, vol.Name, src.Projected)
	case src.DownwardAPI != nil:
		return v.downward(p, src.DownwardAPI.Items, src.DownwardAPI.DefaultMode, src.DownwardAPI.DefaultUser)
	default:
		return nil, fmt.Errorf("volumes of kind %s are not supported", kind(src))
	}
}

// configMap returns the data of a ConfigMap by key; of one that is missing and
// optional, none.
func (v *Volumes) configMap(ctx context.Context, p *v1.Pod, name string, optional bool) (map[string][]byte, error) {
	if err := v.mayUse(p, "configMap"); err != nil {
		return nil, err
	}
	c, err := v.Objects.ConfigMap(ctx, p.Namespace, name)
	if err != nil {
		if optional && apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, err
	}
	data := make(map[string][]byte, len(c.Data)+len(c.BinaryData))
	maps.Copy(data, c.BinaryData)
	for key, value := range c.Data {
		data[key] = []byte(value)
	}
	return data, nil
}

// secret returns the data of a Secret, in the way of configMap.
func (v *Volumes) secret(ctx context.Context, p *v1.Pod, name string, optional bool) (map[string][]byte, error) {
	if err := v.mayUse(p, "secret"); err != nil {
		return nil, err
	}
	s, err := v.Objects.Secret(ctx, p.Namespace, name)
	if err != nil {
		if optional && apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, err
	}
	return s.Data, nil
}

// mayUse refuses what only the API can give to pods that are not of it: its
// server may be one of them.
func (v *Volumes) mayUse(p *v1.Pod, what string) error {
	switch {
	case pod.IsStatic(p):
		return fmt.Errorf("static pods cannot use volumes of kind %s", what)
	case v.Objects == nil:
		return fmt.Errorf("volumes of kind %s need an API server", what)
	}
	return nil
}

// Keys are what a volume shows of an object with keys and values.
type keys struct {
	data     map[string][]byte
	missing  string // what is said of a key that is not there
	items    []v1.KeyToPath
	mode     *int32
	owner    *int64
	optional bool // items, too
}

// files returns all keys, or the items where there are any, by path.
func (k keys) files() (map[string]file, error) {
	files := make(map[string]file, len(k.data))
	if len(k.items) == 0 {
		for name, data := range k.data {
			files[name] = file{data: data, mode: fileMode(nil, k.mode), owner: k.owner}
		}
		return files, nil
	}
	for _, item := range k.items {
		data, ok := k.data[item.Key]
		if !ok {
			if k.optional {
				continue
			}
			return nil, fmt.Errorf("%s: %s", k.missing, item.Key)
		}
		files[item.Path] = file{data: data, mode: fileMode(item.Mode, k.mode), owner: first(item.User, k.owner)}
	}
	return files, nil
}

// fileMode returns the mode of a file: its own, else that of its volume.
func fileMode(own, volume *int32) os.FileMode {
	if m := first(own, volume); m != nil {
		return os.FileMode(*m) & os.ModePerm
	}
	return fs.FileMode(v1.ConfigMapVolumeSourceDefaultMode) // that of all kinds
}

// first returns the first of all that is set.
func first[T any](all ...*T) *T {
	for _, one := range all {
		if one != nil {
			return one
		}
	}
	return nil
}

func isTrue(b *bool) bool { return b != nil && *b }
