package phases

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"boot.internal/journal"
)

func podOn(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Annotations: map[string]string{}}, Spec: corev1.PodSpec{NodeName: "node-1"}}
	for _, c := range change {
		c(p)
	}
	return p
}

// leaving returns a site that is node-1 of a cluster which lets pods go as evict
// says; nil is at once.
func leaving(t *testing.T, evict func(pod string) error, objects ...runtime.Object) (*site, *fake.Clientset) {
	t.Helper()
	s := newSite(t)
	if err := s.o.Journal.Note(t.Context(), journal.Entry{Kind: journal.Node, Name: "node-1"}); err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset(append(objects, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}})...)
	client.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		create, ok := a.(clienttesting.CreateAction)
		if !ok || a.GetSubresource() != "eviction" {
			return false, nil, nil
		}
		name := create.GetObject().(*policyv1.Eviction).Name
		if evict != nil {
			if err := evict(name); err != nil {
				return true, nil, err
			}
		}
		return true, nil, client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), "shop", name)
	})
	s.o.Leave = Leave{Drain: true, DrainTimeout: time.Minute, DeleteNode: true, API: func(bool) (kubernetes.Interface, error) { return client, nil }}
	return s, client
}

// leave runs the phases of a node that leaves, and returns what they changed.
func (s *site) leave() (changes []string, err error) {
	r := reset{s.o, map[string]bool{}}
	err = Runner{Report: func(e Event) {
		if e.State == Changing {
			changes = append(changes, e.Text)
		}
	}}.Run(s.t.Context(), []Step{{"drain-node", "", PlanFunc(r.drain)}, {"delete-node", "", PlanFunc(r.deleteNode)}})
	return changes, err
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refusals := 3
		s, client := leaving(t, func(pod string) error {
			if pod == "guarded" && refusals > 0 {
				refusals--
				return apierrors.NewTooManyRequests("the disruption budget needs 1 healthy pod", 0)
			}
			return nil
		},
			podOn("plain"), podOn("guarded"),
			podOn("static", func(p *corev1.Pod) { p.Annotations[corev1.MirrorPodAnnotationKey] = "x" }),
			podOn("daemon", func(p *corev1.Pod) {
				p.OwnerReferences = []metav1.OwnerReference{{Kind: "DaemonSet", Name: "d", Controller: new(true)}}
			}),
			podOn("over", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
		)
		changes, err := s.leave()
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"let no more pods on node node-1", "have other nodes take over shop/guarded, shop/plain", "delete node node-1 from the cluster"}
		if diff := cmp.Diff(want, changes); diff != "" {
			t.Error(diff)
		}
		if refusals != 0 {
			t.Error("the budget was not respected")
		}
		left, err := client.CoreV1().Pods("shop").List(t.Context(), metav1.ListOptions{})
		if err != nil || len(left.Items) != 3 {
			t.Errorf("%d pods are left: %v", len(left.Items), err)
		}
		if again, err := s.leave(); err != nil || len(again) > 0 {
			t.Errorf("again: %q, %v", again, err)
		}
	})
}

// A budget that never lets a pod go ends the reset before anything is undone.
func TestDrainRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := leaving(t, func(string) error {
			return apierrors.NewTooManyRequests("the disruption budget needs 1 healthy pod", 0)
		}, podOn("guarded"))
		began := time.Now()
		_, err := s.leave()
		wantError(t, err, "gave up after 1m0s: evict shop/guarded: ", "kubectl uncordon node-1")
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %s", took)
		}
		if node, err := client.CoreV1().Nodes().Get(t.Context(), "node-1", metav1.GetOptions{}); err != nil || !node.Spec.Unschedulable {
			t.Errorf("the node is %v: %v", node, err)
		}
	})
}

// What a node may not do by itself is told before it has left.
func TestLeaveNotAllowed(t *testing.T) {
	s, client := leaving(t, nil)
	client.PrependReactor("delete", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("nodes"), "node-1", nil)
	})
	_, err := s.leave()
	wantError(t, err, "delete node node-1: ", "--kubeconfig")
	s.o.Leave.API = func(bool) (kubernetes.Interface, error) { return nil, errors.New("no route") }
	_, err = s.leave()
	wantError(t, err, "drain node node-1: no route", "without --drain")
}

// Of a host that is no node, or no node any more, nothing leaves.
func TestNothingLeaves(t *testing.T) {
	s, _ := leaving(t, nil)
	s.o.Leave.API = func(bool) (kubernetes.Interface, error) { return nil, fs.ErrNotExist }
	if changes, err := s.leave(); err != nil || len(changes) > 0 {
		t.Errorf("%q, %v", changes, err)
	}
	s = newSite(t)
	s.o.Leave = Leave{Drain: true, DeleteNode: true}
	if changes, err := s.leave(); err != nil || len(changes) > 0 {
		t.Errorf("%q, %v", changes, err)
	}
}

func TestResetLogind(t *testing.T) {
	for _, c := range []struct {
		name, text string
		goes       bool
	}{
		{"boot's", "# Written by boot: shutdowns wait until pods have ended.\n[Login]\nInhibitDelayMaxSec=35\n", true},
		{"of a kubelet", "# Kubelet logind override\n[Login]\nInhibitDelayMaxSec=35\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			dir := filepath.Join(s.root, "etc/systemd/logind.conf.d")
			s.o.Dirs.Logind = filepath.Join(dir, "99-kubelet.conf")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.o.Dirs.Logind, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			reloads := 0
			s.o.ReloadLogind = func(context.Context) error {
				reloads++
				return nil
			}
			r := reset{s.o, map[string]bool{}}
			if err := (Runner{}).Run(t.Context(), []Step{{"logind", "", PlanFunc(r.logind)}}); err != nil {
				t.Fatal(err)
			}
			if exists(dir) == c.goes || (reloads == 1) != c.goes {
				t.Errorf("directory there %t, %d reloads", exists(dir), reloads)
			}
		})
	}
}
