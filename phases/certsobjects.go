package phases

import (
	"encoding/base64"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The Secret of the shared certificates and the role that opens it.
const (
	certsName = "kubeadm-certs"
	certsRole = "kubeadm:kubeadm-certs"
	rbacGroup = "rbac.authorization.k8s.io"
)

type object = map[string]any

// certsSecret returns the Secret of what is sealed, which goes with its owner.
func certsSecret(sealed map[string][]byte, owner *metav1.OwnerReference) *unstructured.Unstructured {
	data := object{}
	for name, content := range sealed {
		data[name] = base64.StdEncoding.EncodeToString(content)
	}
	secret := kubeSystem("v1", "Secret", certsName, object{"data": data})
	if owner != nil {
		secret.SetOwnerReferences([]metav1.OwnerReference{*owner})
	}
	return secret
}

// certsRules let a joining control plane read the Secret; that it holds a token
// is all that is known of it.
func certsRules() []*unstructured.Unstructured {
	return []*unstructured.Unstructured{
		kubeSystem(rbacGroup+"/v1", "Role", certsRole, object{"rules": []any{object{
			"apiGroups": []any{""}, "resources": []any{"secrets"}, "resourceNames": []any{certsName}, "verbs": []any{"get"},
		}}}),
		kubeSystem(rbacGroup+"/v1", "RoleBinding", certsRole, object{
			"roleRef":  object{"apiGroup": rbacGroup, "kind": "Role", "name": certsRole},
			"subjects": []any{object{"apiGroup": rbacGroup, "kind": "Group", "name": joiningNodes}},
		}),
	}
}

func kubeSystem(apiVersion, kind, name string, content object) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: content}
	obj.SetAPIVersion(apiVersion)
	obj.SetKind(kind)
	obj.SetNamespace(metav1.NamespaceSystem)
	obj.SetName(name)
	return obj
}
