package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"boot.internal/hint"
	"boot.internal/journal"
)

// Leave is how a node takes leave of its cluster, beyond what a reset does by
// itself: nobody else knows whether the machine is to come back.
type Leave struct {
	// Drain has other nodes take over the pods first, as far as their disruption
	// budgets let them, for at most DrainTimeout.
	Drain        bool
	DrainTimeout time.Duration
	// DeleteNode deletes the Node object.
	DeleteNode bool
	// API returns a client as the node, or as somebody who may do more. Away is one
	// of another machine's API server, which outlives this one. An error that is
	// fs.ErrNotExist says that the node has no access to a cluster (any more).
	API func(away bool) (kubernetes.Interface, error)
}

// drainEvery is how often pods are looked at, and those asked to go again that were
// not let go.
const drainEvery = time.Second

// A drain has the pods of a node taken over by others.
type drain struct {
	Leave
	node string
	loop Loop
}

// node returns what boot has made this host the node of, "" if it has not.
func (r reset) node() (string, error) {
	entries, err := r.entries()
	if i := slices.IndexFunc(entries, func(e journal.Entry) bool { return e.Kind == journal.Node }); i >= 0 {
		return entries[i].Name, nil
	}
	return "", err
}

func (r reset) drain(ctx context.Context) ([]Change, error) {
	name, err := r.node()
	if err != nil || name == "" || !r.Leave.Drain {
		return nil, err
	}
	return drain{r.Leave, name, r.Loop}.Plan(ctx)
}

// Plan implements Phase.
func (d drain) Plan(ctx context.Context) ([]Change, error) {
	client, err := d.API(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, d.cannot(err)
	}
	node, err := getNode(ctx, client, d.node)
	if err != nil || node == nil {
		return nil, d.cannot(err)
	}
	pods, err := d.pods(ctx, client)
	if err != nil {
		return nil, d.cannot(err)
	}
	var changes []Change
	if !node.Spec.Unschedulable {
		changes = append(changes, Change{"let no more pods on node " + d.node, func(ctx context.Context) error { return d.cordon(ctx, client) }})
	}
	if len(pods) > 0 {
		changes = append(changes, Change{"have other nodes take over " + podNames(pods), func(ctx context.Context) error { return d.evict(ctx, client) }})
	}
	return changes, nil
}

func (d drain) cannot(err error) error {
	if err == nil {
		return nil
	}
	return hint.With(fmt.Errorf("drain node %s: %w", d.node, err), "drain it from another machine with 'kubectl drain "+d.node+"', and run 'boot reset' without --drain")
}

// getNode returns a Node, nil if there is none.
func getNode(ctx context.Context, client kubernetes.Interface, name string) (*corev1.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return node, err
}

// pods returns those that are to go: not static ones, nor those that daemon sets
// would make again at once, nor what has ended.
func (d drain) pods(ctx context.Context, client kubernetes.Interface) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", d.node).String(),
	})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		owner := metav1.GetControllerOf(&p)
		return p.Annotations[corev1.MirrorPodAnnotationKey] != "" || owner != nil && owner.Kind == "DaemonSet" ||
			p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	}), nil
}

func podNames(pods []corev1.Pod) string {
	var names []string
	for _, p := range pods {
		names = append(names, p.Namespace+"/"+p.Name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (d drain) cordon(ctx context.Context, client kubernetes.Interface) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := client.CoreV1().Nodes().Patch(ctx, d.node, types.MergePatchType, []byte(`{"spec":{"unschedulable":true}}`), metav1.PatchOptions{FieldManager: fieldManager})
	return d.cannot(err)
}

// evict asks for pods to go until they have gone. It is this node's loop that ends
// them.
func (d drain) evict(ctx context.Context, client kubernetes.Interface) error {
	limited, cancel := context.WithTimeout(ctx, d.DrainTimeout)
	defer cancel()
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	var said string
	var last error
	for {
		left, why := d.evictOnce(limited, client)
		if left == "" && why == nil {
			return nil
		}
		if why == nil {
			why = errors.New(left + " has not ended")
		}
		// An attempt that was cut off knows less than the one before it.
		if limited.Err() == nil || last == nil {
			last = why
		}
		if text := last.Error(); text != said {
			said = text
			waiting(ctx, text)
		}
		select {
		case <-tick.C:
		case <-limited.Done():
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if limited.Err() != nil {
			return d.gaveUp(last)
		}
	}
}

func (d drain) gaveUp(why error) error {
	return hint.With(fmt.Errorf("gave up after %s: %w", d.DrainTimeout, why),
		"see to it and run the same again, with a longer --drain-timeout if need be; 'kubectl uncordon "+d.node+"' lets pods on the node again")
}

// evictOnce asks every pod to go that has not been. It returns those that are
// still there, and why one of them is not let go.
func (d drain) evictOnce(ctx context.Context, client kubernetes.Interface) (left string, why error) {
	pods, err := d.pods(ctx, client)
	if err != nil {
		return "", err
	}
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			continue
		}
		err := client.CoreV1().Pods(p.Namespace).EvictV1(ctx, &policyv1.Eviction{
			ObjectMeta:    metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name},
			DeleteOptions: &metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(p.UID))},
		})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			why = fmt.Errorf("evict %s/%s: %w", p.Namespace, p.Name, err)
		}
	}
	return podNames(pods), why
}

// deleteNode deletes the Node object, once nothing registers it anew.
func (r reset) deleteNode(ctx context.Context) ([]Change, error) {
	name, err := r.node()
	if err != nil || name == "" || !r.Leave.DeleteNode {
		return nil, err
	}
	client, err := r.Leave.API(true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var node *corev1.Node
	if err == nil {
		node, err = getNode(ctx, client, name)
	}
	if err != nil {
		return nil, undeleted(name, err)
	}
	if node == nil {
		return nil, nil
	}
	return []Change{{"delete node " + name + " from the cluster", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		err := client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(node.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			return undeleted(name, err)
		}
		return nil
	}}}, nil
}

func undeleted(name string, err error) error {
	return hint.With(fmt.Errorf("delete node %s: %w", name, err),
		"name an administrator's kubeconfig by --kubeconfig; or run it without --delete-node, and 'kubectl delete node "+name+"' elsewhere")
}
