package manifest

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The fields of a pod that can be referred to. Environment variables and
// downward API volumes know different ones.
//
//nolint:gochecknoglobals // constant tables
var (
	envFields = []string{
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
	}
	volumeFields = []string{
		"metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid",
	}
	resourceFields = []string{
		"limits.cpu", "limits.memory", "limits.ephemeral-storage",
		"requests.cpu", "requests.memory", "requests.ephemeral-storage",
	}
)

func (c *checker) env(path *field.Path, env []v1.EnvVar) {
	for i, e := range env {
		at := path.Index(i)
		if e.Name == "" {
			c.add(field.Required(at.Child("name"), ""))
		} else {
			c.invalid(at.Child("name"), e.Name, validation.IsRelaxedEnvVarName(e.Name)...)
		}
		if e.ValueFrom != nil {
			c.valueFrom(at.Child("valueFrom"), e)
		}
	}
}

func (c *checker) valueFrom(path *field.Path, e v1.EnvVar) {
	from := e.ValueFrom
	sources := count(from.FieldRef != nil, from.ResourceFieldRef != nil, from.ConfigMapKeyRef != nil,
		from.SecretKeyRef != nil, from.FileKeyRef != nil)
	switch {
	case sources != 1:
		c.invalid(path, "", "must name exactly one source")
	case e.Value != "":
		c.invalid(path, "", "not together with value")
	}
	if from.FieldRef != nil {
		c.fieldRef(path.Child("fieldRef"), from.FieldRef, envFields)
	}
	if from.ResourceFieldRef != nil {
		c.resourceRef(path.Child("resourceFieldRef"), from.ResourceFieldRef)
	}
	if from.FileKeyRef != nil {
		c.fileKeyRef(path.Child("fileKeyRef"), from.FileKeyRef)
	}
}

func (c *checker) fileKeyRef(path *field.Path, ref *v1.FileKeySelector) {
	c.descending(path.Child("path"), ref.Path)
	i := slices.IndexFunc(c.pod.Spec.Volumes, func(v v1.Volume) bool { return v.Name == ref.VolumeName })
	switch {
	case i < 0:
		c.add(field.NotFound(path.Child("volumeName"), ref.VolumeName))
	case c.pod.Spec.Volumes[i].EmptyDir == nil:
		c.invalid(path.Child("volumeName"), ref.VolumeName, "must be an emptyDir")
	}
	if ref.Key == "" {
		c.add(field.Required(path.Child("key"), ""))
	}
}

// count returns how many of the conditions hold.
func count(conditions ...bool) int {
	n := 0
	for _, yes := range conditions {
		if yes {
			n++
		}
	}
	return n
}

// fieldRef checks a reference to a field of the pod; labels and annotations
// may be named one by one: metadata.labels['app'].
func (c *checker) fieldRef(path *field.Path, ref *v1.ObjectFieldSelector, allowed []string) {
	if ref.APIVersion != "v1" {
		c.invalid(path.Child("apiVersion"), ref.APIVersion, "must be v1")
	}
	path = path.Child("fieldPath")
	name, rest, subscript := strings.Cut(ref.FieldPath, "['")
	if !subscript {
		oneOf(c, path, ref.FieldPath, allowed...)
		return
	}
	key, closed := strings.CutSuffix(rest, "']")
	switch {
	case !closed || name != "metadata.labels" && name != "metadata.annotations":
		c.invalid(path, ref.FieldPath, "only metadata.labels['key'] and metadata.annotations['key'] are subscripted")
	default:
		c.invalid(path, key, validation.IsQualifiedName(strings.ToLower(key))...)
	}
}

func (c *checker) resourceRef(path *field.Path, ref *v1.ResourceFieldSelector) {
	if strings.HasPrefix(ref.Resource, "limits.hugepages-") || strings.HasPrefix(ref.Resource, "requests.hugepages-") {
		return
	}
	oneOf(c, path.Child("resource"), ref.Resource, resourceFields...)
}
