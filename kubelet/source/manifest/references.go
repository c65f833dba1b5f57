package manifest

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// A references collects what a static pod may not ask of the API (SP-28).
type references struct{ issues []Issue }

// refer notes a reference, in upstream's words: people search for them.
func (r *references) refer(path *field.Path, what string) {
	r.issues = append(r.issues, Issue{
		Field: path.String(), Message: "static pods may not reference " + what,
		Hint: "a static pod must run without an API server; use hostPath or plain values",
	})
}

// referenceIssues returns every reference to an API object in p.
func referenceIssues(p *v1.Pod) []Issue {
	r := &references{}
	spec := field.NewPath("spec")
	if p.Spec.ServiceAccountName != "" {
		r.refer(spec.Child("serviceAccountName"), "serviceaccounts")
	}
	for i := range p.Spec.ImagePullSecrets {
		r.refer(spec.Child("imagePullSecrets").Index(i), "secrets")
	}
	if len(p.Spec.ResourceClaims) > 0 {
		r.refer(spec.Child("resourceClaims"), "resourceclaims")
	}
	r.containers(spec.Child("initContainers"), p.Spec.InitContainers)
	r.containers(spec.Child("containers"), p.Spec.Containers)
	for i := range p.Spec.Volumes {
		r.volume(spec.Child("volumes").Index(i), &p.Spec.Volumes[i])
	}
	return r.issues
}

func (r *references) containers(path *field.Path, list []v1.Container) {
	for i := range list {
		at := path.Index(i)
		for j, env := range list[i].Env {
			r.env(at.Child("env").Index(j).Child("valueFrom"), env.ValueFrom)
		}
		for j, from := range list[i].EnvFrom {
			if from.ConfigMapRef != nil {
				r.refer(at.Child("envFrom").Index(j).Child("configMapRef"), "configmaps")
			}
			if from.SecretRef != nil {
				r.refer(at.Child("envFrom").Index(j).Child("secretRef"), "secrets")
			}
		}
	}
}

func (r *references) env(path *field.Path, from *v1.EnvVarSource) {
	if from == nil {
		return
	}
	if from.ConfigMapKeyRef != nil {
		r.refer(path.Child("configMapKeyRef"), "configmaps")
	}
	if from.SecretKeyRef != nil {
		r.refer(path.Child("secretKeyRef"), "secrets")
	}
}

// volume refuses the volumes that need the API, and those boot does not know.
func (r *references) volume(path *field.Path, v *v1.Volume) {
	switch {
	case v.ConfigMap != nil:
		r.refer(path.Child("configMap"), "configmaps")
	case v.Secret != nil:
		r.refer(path.Child("secret"), "secrets")
	case v.CSI != nil:
		r.refer(path.Child("csi"), "csidrivers (via CSI volumes)")
	case v.Glusterfs != nil:
		r.refer(path.Child("glusterfs"), "endpoints (via glusterFS volumes)")
	case v.PersistentVolumeClaim != nil:
		r.refer(path.Child("persistentVolumeClaim"), "persistentvolumeclaims")
	case v.Ephemeral != nil:
		r.refer(path.Child("ephemeral"), "persistentvolumeclaims (via ephemeral volumes)")
	case v.AzureFile != nil:
		r.refer(path.Child("azureFile"), "secrets (via azureFile volumes)")
	case v.Projected != nil:
		for i, source := range v.Projected.Sources {
			r.projection(path.Child("projected", "sources").Index(i), source)
		}
	default:
		r.plainVolume(path, v)
	}
}

func (r *references) projection(path *field.Path, s v1.VolumeProjection) {
	switch {
	case s.ConfigMap != nil:
		r.refer(path.Child("configMap"), "configmaps (via projected volumes)")
	case s.Secret != nil:
		r.refer(path.Child("secret"), "secrets (via projected volumes)")
	case s.ServiceAccountToken != nil:
		r.refer(path.Child("serviceAccountToken"), "serviceaccounts (via projected volumes)")
	case s.ClusterTrustBundle != nil:
		r.refer(path.Child("clusterTrustBundle"), "clustertrustbundles")
	case s.PodCertificate != nil:
		r.refer(path.Child("podCertificate"), "podcertificates")
	case s.DownwardAPI == nil:
		r.issues = append(r.issues, Issue{Field: path.String(), Message: "this kind of projection is not known"})
	}
}

// plainVolume lets volumes pass that need no API, unless they name a secret (SP-29).
func (r *references) plainVolume(path *field.Path, v *v1.Volume) {
	switch {
	case v.HostPath != nil, v.EmptyDir != nil, v.DownwardAPI != nil, v.Image != nil, v.NFS != nil, v.FC != nil,
		v.AWSElasticBlockStore != nil, v.AzureDisk != nil, v.Flocker != nil, v.GCEPersistentDisk != nil,
		v.GitRepo != nil, v.PhotonPersistentDisk != nil, v.PortworxVolume != nil, v.Quobyte != nil, v.VsphereVolume != nil:
	case v.ISCSI != nil:
		r.secret(path.Child("iscsi"), v.ISCSI.SecretRef)
	case v.RBD != nil:
		r.secret(path.Child("rbd"), v.RBD.SecretRef)
	case v.CephFS != nil:
		r.secret(path.Child("cephfs"), v.CephFS.SecretRef)
	case v.Cinder != nil:
		r.secret(path.Child("cinder"), v.Cinder.SecretRef)
	case v.FlexVolume != nil:
		r.secret(path.Child("flexVolume"), v.FlexVolume.SecretRef)
	case v.ScaleIO != nil:
		r.secret(path.Child("scaleIO"), v.ScaleIO.SecretRef)
	case v.StorageOS != nil:
		r.secret(path.Child("storageos"), v.StorageOS.SecretRef)
	default:
		r.issues = append(r.issues, Issue{
			Field: path.String(), Message: fmt.Sprintf("the kind of volume %q is not known", v.Name),
		})
	}
}

func (r *references) secret(path *field.Path, ref *v1.LocalObjectReference) {
	if ref != nil {
		r.refer(path.Child("secretRef"), "secrets")
	}
}
