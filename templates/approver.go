package templates

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// ServingApprover returns what lets a node of the control plane approve the
// requests of kubelets for serving certificates.
func ServingApprover(node string) ([]*unstructured.Unstructured, error) {
	return objects("addons/kubelet-serving-approver.yaml", struct{ Node string }{node})
}
