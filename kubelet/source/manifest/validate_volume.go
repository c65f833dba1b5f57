package manifest

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *checker) volumes(path *field.Path) {
	names := map[string]bool{}
	for i := range c.pod.Spec.Volumes {
		v, at := &c.pod.Spec.Volumes[i], path.Index(i)
		c.label(at.Child("name"), v.Name)
		if names[v.Name] {
			c.add(field.Duplicate(at.Child("name"), v.Name))
		}
		names[v.Name] = true
		if n := sources(&v.VolumeSource); n > 1 {
			c.add(field.Forbidden(at, "may not specify more than 1 volume type"))
		}
		c.volume(at, v)
	}
}

// sources returns how many kinds of volume are written. The kinds are fields
// of a struct of pointers, and there are thirty of them.
func sources(v *v1.VolumeSource) int {
	n := 0
	for _, source := range reflect.ValueOf(v).Elem().Fields() {
		n += count(!source.IsNil())
	}
	return n
}

func (c *checker) volume(path *field.Path, v *v1.Volume) {
	if v.HostPath != nil {
		c.hostPath(path.Child("hostPath"), v.HostPath)
	}
	if e := v.EmptyDir; e != nil && e.SizeLimit != nil && e.SizeLimit.Sign() < 0 {
		c.invalid(path.Child("emptyDir", "sizeLimit"), e.SizeLimit.String(), "must not be negative")
	}
	if v.DownwardAPI != nil {
		c.mode(path.Child("downwardAPI", "defaultMode"), v.DownwardAPI.DefaultMode)
		c.items(path.Child("downwardAPI", "items"), v.DownwardAPI.Items)
	}
	if v.Image != nil && v.Image.Reference == "" {
		c.add(field.Required(path.Child("image", "reference"), ""))
	}
	if v.NFS != nil && (v.NFS.Server == "" || v.NFS.Path == "") {
		c.add(field.Required(path.Child("nfs"), "server and path"))
	}
	if v.Projected == nil {
		return
	}
	c.mode(path.Child("projected", "defaultMode"), v.Projected.DefaultMode)
	for i, source := range v.Projected.Sources {
		if source.DownwardAPI != nil {
			c.items(path.Child("projected", "sources").Index(i).Child("downwardAPI", "items"), source.DownwardAPI.Items)
		}
	}
}

// hostPath also asks for an absolute path, which the API server does not: a
// relative one would depend on where boot was started.
func (c *checker) hostPath(path *field.Path, h *v1.HostPathVolumeSource) {
	switch {
	case h.Path == "":
		c.add(field.Required(path.Child("path"), ""))
	case !filepath.IsAbs(h.Path):
		c.invalid(path.Child("path"), h.Path, "must be an absolute path")
	}
	c.noBacksteps(path.Child("path"), h.Path)
	oneOf(c, path.Child("type"), *h.Type, v1.HostPathUnset, v1.HostPathDirectoryOrCreate, v1.HostPathDirectory,
		v1.HostPathFileOrCreate, v1.HostPathFile, v1.HostPathSocket, v1.HostPathCharDev, v1.HostPathBlockDev)
}

func (c *checker) items(path *field.Path, items []v1.DownwardAPIVolumeFile) {
	for i, item := range items {
		at := path.Index(i)
		if item.Path == "" {
			c.add(field.Required(at.Child("path"), ""))
		}
		if strings.HasPrefix(item.Path, "..") {
			c.invalid(at.Child("path"), item.Path, "must not start with '..'")
		}
		c.descending(at.Child("path"), item.Path)
		c.mode(at.Child("mode"), item.Mode)
		if count(item.FieldRef != nil, item.ResourceFieldRef != nil) != 1 {
			c.add(field.Required(at, "exactly one of fieldRef and resourceFieldRef"))
		}
		if item.FieldRef != nil {
			c.fieldRef(at.Child("fieldRef"), item.FieldRef, volumeFields)
		}
		if item.ResourceFieldRef != nil {
			c.resourceRef(at.Child("resourceFieldRef"), item.ResourceFieldRef)
			if item.ResourceFieldRef.ContainerName == "" {
				c.add(field.Required(at.Child("resourceFieldRef", "containerName"), ""))
			}
		}
	}
}

func (c *checker) mode(path *field.Path, mode *int32) {
	if mode != nil && (*mode < 0 || *mode > 0o777) {
		c.invalid(path, *mode, "must be between 0 and 0777 octal, which is 511 decimal")
	}
}

// descending checks a path that must not leave the volume it is in.
func (c *checker) descending(path *field.Path, value string) {
	if filepath.IsAbs(value) {
		c.invalid(path, value, "must be a relative path")
	}
	c.noBacksteps(path, value)
}

func (c *checker) noBacksteps(path *field.Path, value string) {
	if slices.Contains(strings.Split(value, "/"), "..") {
		c.invalid(path, value, "must not contain '..'")
	}
}

func (c *checker) resources(path *field.Path, r *v1.ResourceRequirements) {
	for name, limit := range r.Limits {
		c.resource(path.Child("limits").Key(string(name)), name, limit)
	}
	for name, request := range r.Requests {
		at := path.Child("requests").Key(string(name))
		c.resource(at, name, request)
		limit, limited := r.Limits[name]
		switch {
		case limited && request.Cmp(limit) > 0:
			c.invalid(at, request.String(), "must be less than or equal to the limit of "+limit.String())
		case !overcommit(name) && (!limited || request.Cmp(limit) != 0):
			c.invalid(at, request.String(), "must equal the limit: this resource cannot be overcommitted")
		}
	}
}

// overcommit reports whether a node may promise more of a resource than it has:
// only of those that are the node's own, and never of huge pages.
func overcommit(name v1.ResourceName) bool {
	text := string(name)
	native := !strings.Contains(text, "/") || strings.Contains(text, v1.ResourceDefaultNamespacePrefix)
	return native && !strings.HasPrefix(text, v1.ResourceHugePagesPrefix)
}

func (c *checker) resource(path *field.Path, name v1.ResourceName, q resource.Quantity) {
	c.invalid(path, string(name), validation.IsQualifiedName(string(name))...)
	if !strings.Contains(string(name), "/") && !strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) {
		oneOf(c, path, name, v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage)
	}
	c.quantity(path, q)
}

func (c *checker) quantity(path *field.Path, q resource.Quantity) {
	if q.Sign() < 0 {
		c.invalid(path, q.String(), "must not be negative")
	}
}
