package phases

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// The groups that get rights.
const (
	joiningNodes = "system:bootstrappers:kubeadm:default-node-token"
	nodes        = "system:nodes"
)

// readable returns a role, named as kubeadm's, that lets subjects read the one
// object, and its binding.
func readable(namespace, role, resource, name string, subjects ...rbacv1.Subject) []runtime.Object {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: role}
	return []runtime.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
			Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{resource}, ResourceNames: []string{name},
		}}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role},
			Subjects:   subjects,
		},
	}
}

// bound returns the binding of a cluster role to one subject.
func bound(name, role string, subject rbacv1.Subject) runtime.Object {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{subject},
	}
}

func group(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: name}
}

func user(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}
}

// clusterAdmins gives admin.conf its rights. Unlike those of super-admin.conf
// they can be taken away again.
func clusterAdmins() runtime.Object {
	return bound("kubeadm:cluster-admins", "cluster-admin", group("kubeadm:cluster-admins"))
}

// joinRules let nodes join: find themselves, ask for certificates and get them
// without a person approving, and be reached by the API server.
func joinRules() []runtime.Object {
	const getNodes = "kubeadm:get-nodes"
	return []runtime.Object{
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: getNodes},
			Rules:      []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"nodes"}}},
		},
		bound(getNodes, getNodes, group(joiningNodes)),
		bound("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", group(joiningNodes)),
		bound("kubeadm:node-autoapprove-bootstrap", "system:certificates.k8s.io:certificatesigningrequests:nodeclient", group(joiningNodes)),
		bound("kubeadm:node-autoapprove-certificate-rotation", "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", group(nodes)),
		bound("kubeadm:apiserver-kubelet-client", "system:kubelet-api-admin", user("kube-apiserver-kubelet-client")),
	}
}
