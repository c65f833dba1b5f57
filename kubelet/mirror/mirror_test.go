package mirror

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	k8stesting "k8s.io/client-go/testing"

	"boot.internal/kubelet/pod"
)

func TestCreates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := static("a", "h1")
		w.run()
		w.want("SP-51 nothing without a static pod", "")
		w.r.SetStatic([]*v1.Pod{a})
		w.want("SP-49 nothing without a Node", "")
		w.r.SetNode(node("node-uid"))
		w.want("SP-51 at once when both are there", "create a")

		m := w.get("a")
		{ // SP-49 annotations and owner
			if m.Annotations[pod.ConfigMirror] != "h1" || m.Annotations[pod.ConfigHash] != "h1" ||
				m.Annotations[pod.ConfigSource] != "file" || m.Annotations[pod.ConfigSeen] != "then" || m.Labels["a"] != "b" {
				t.Errorf("annotations %v", m.Annotations)
			}
			o := m.OwnerReferences
			if len(o) != 1 || o[0].APIVersion != "v1" || o[0].Kind != "Node" || o[0].Name != "n1" || o[0].UID != "node-uid" ||
				!*o[0].Controller || o[0].BlockOwnerDeletion != nil {
				t.Errorf("SP-50 owners %+v", o)
			}
		}
		if uid, ok := w.r.UIDFor(a); !ok || uid != m.UID {
			t.Errorf("SP-55 the mirror's UID is %s, want %s", uid, m.UID)
		}
		if _, ok := w.r.UIDFor(static("a", "h2")); ok {
			t.Error("SP-55 a UID for another version of the pod")
		}
		if a.Annotations[pod.ConfigMirror] != "" || a.UID != "h1" {
			t.Error("the static pod was changed")
		}
		w.r.SetStatic([]*v1.Pod{a})
		w.r.Poke()
		time.Sleep(time.Hour)
		w.want("SP-51 no resync", "")
		if w.r.Len() != 1 || len(w.changes) == 0 || w.changes[0] != pod.KeyOf(a) {
			t.Errorf("%d mirrors, changes %v", w.r.Len(), w.changes)
		}
	})
}

func TestNodeGoesAndComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		dying := node("node-uid")
		dying.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		w.r.SetNode(dying)
		w.r.SetStatic([]*v1.Pod{static("a", "h1")})
		w.want("SP-49 not for a Node being deleted", "")
		w.r.SetNode(node("node-uid"))
		w.want("SP-49 for one that stays", "create a")
		w.r.SetNode(nil)
		w.want("a Node that went leaves the mirror to the garbage collector", "")
		w.r.SetNode(node("node-uid-2"))
		w.want("SP-50 another Node is another owner", "delete a, create a")
		if o := w.get("a").OwnerReferences[0].UID; o != "node-uid-2" {
			t.Errorf("owner %s", o)
		}
	})
}

func TestReplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.r.SetNode(node("node-uid"))
		w.r.SetStatic([]*v1.Pod{static("a", "h1")})
		w.want("created", "create a")
		first := w.get("a").UID

		w.r.SetStatic([]*v1.Pod{static("a", "h2")})
		w.want("SP-56 not before the one before has ended", "")
		w.r.Succeeded(static("a", "h1"))
		w.want("SP-56 which is not said of the one before", "")
		w.r.Succeeded(static("a", "h2"))
		w.want("SP-52 another hash is replaced in one go", "delete a, create a")
		second := w.get("a")
		if second.UID == first || second.Annotations[pod.ConfigMirror] != "h2" {
			t.Errorf("mirror %s of %s", second.UID, second.Annotations[pod.ConfigMirror])
		}

		edited := second.DeepCopy()
		edited.Labels, edited.ResourceVersion = map[string]string{"edited": "yes"}, "99"
		edited.Spec.ActiveDeadlineSeconds = new(int64)
		if _, err := w.api.CoreV1().Pods("ns").Update(t.Context(), edited, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.want("SP-54 edits are ignored", "")
		if m, _ := w.r.Pod(pod.KeyOf(edited)); m.Labels["edited"] != "yes" {
			t.Error("but what the API has is known")
		}

		gone := force(second)
		if err := w.api.CoreV1().Pods("ns").Delete(t.Context(), "a", gone); err != nil {
			t.Fatal(err)
		}
		w.want("SP-53 deleted by force, made anew at once", "delete a, create a")

		third := w.get("a").DeepCopy()
		third.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		third.ResourceVersion = "100"
		if _, err := w.api.CoreV1().Pods("ns").Update(t.Context(), third, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.want("SP-52 SP-53 deleted gracefully, made anew at once", "delete a, create a")
		if uid := w.get("a").UID; uid == third.UID {
			t.Error("SP-53 the same UID")
		}
	})
}

func TestOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		orphan, other := static("orphan", "h"), static("web", "h")
		other.Annotations[pod.ConfigSource] = pod.SourceHTTP
		foreign := static("foreign", "h")
		w := newWorld(t, mirrorOf(orphan, "u1"), mirrorOf(other, "u2"), foreign)
		w.run()
		w.want("SP-56 nothing is an orphan before the sources spoke", "")
		w.r.SetStatic([]*v1.Pod{orphan}, pod.SourceHTTP)
		w.want("SP-56 SP-45 not while terminating, not of a source that is still silent", "")
		w.r.SetStatic(nil, pod.SourceHTTP)
		w.want("SP-56 gone for good", "delete orphan")
		w.r.SetStatic(nil)
		w.want("SP-56 the other source spoke", "delete web")
		w.get("foreign") // no mirror, so none of ours
	})
}

func TestAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		same, old := static("same", "h"), static("old", "h1")
		w := newWorld(t, mirrorOf(same, "u1"), mirrorOf(old, "u2"))
		w.r.SetNode(node("node-uid"))
		w.r.SetStatic([]*v1.Pod{same, static("old", "h2")})
		w.run()
		if w.get("same").UID != "u1" {
			t.Error("SP-59 a mirror with the same hash was replaced")
		}
		if m := w.get("old"); m.UID == "u2" || m.Annotations[pod.ConfigMirror] != "h2" {
			t.Error("SP-52 an old mirror was kept")
		}
		if uid, ok := w.r.UIDFor(same); !ok || uid != "u1" {
			t.Errorf("UID %s", uid)
		}
	})
}

func TestAlreadyExists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := static("taken", "h")
		squatter := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "taken", UID: "other"}}
		w := newWorld(t, squatter)
		w.run()
		w.r.SetNode(node("node-uid"))
		w.r.SetStatic([]*v1.Pod{taken, static("free", "h")})
		if got := w.took(); strings.Count(got, "create taken") != 1 || !strings.Contains(got, "create free") {
			t.Errorf("SP-59 %q", got)
		}
		if _, ok := w.r.UIDFor(taken); ok {
			t.Error("SP-59 somebody else's pod was taken for a mirror")
		}
		time.Sleep(time.Minute)
		if n := strings.Count(w.took(), "create taken"); n < 6 || n > 30 {
			t.Errorf("SP-59 tried %d times in a minute", n)
		}
		if err := w.api.CoreV1().Pods("ns").Delete(t.Context(), "taken", force(squatter)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lastWait)
		synctest.Wait()
		if _, ok := w.r.UIDFor(taken); !ok {
			t.Error("SP-59 not made once the name was free")
		}
	})
}

func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.failWith(errors.New("connection refused"), "create", "list", "watch", "get", "delete")
		w.run()
		w.r.SetNode(node("node-uid"))
		w.r.SetStatic([]*v1.Pod{static("a", "h1")})
		time.Sleep(10 * time.Minute) // SP-48: nobody waits for this
		w.failWith(nil)
		time.Sleep(15 * time.Second)
		w.want("made once the API answers", "create a")

		for _, err := range []error{
			apierrors.NewNotFound(v1.Resource("pods"), "a"), apierrors.NewConflict(v1.Resource("pods"), "a", errors.New("uid")),
		} {
			w.failWith(err, "delete")
			next := static("a", fmt.Sprint(err))
			w.r.SetStatic([]*v1.Pod{next})
			w.r.Succeeded(next)
			w.want("SP-52 NotFound and Conflict do not count as deleted", "")
			w.failWith(nil)
			time.Sleep(time.Second)
			w.want("SP-52 until the delete succeeds", "delete a, create a")
		}
	})
}

func TestFinalizer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := mirrorOf(static("a", "h1"), "u1")
		old.Finalizers = []string{"x.example/hold"}
		w := newWorld(t, old)
		w.api.PrependReactor("delete", "pods", func(k8stesting.Action) (bool, runtime.Object, error) {
			w.note("held")
			return true, nil, nil // accepted, but the object stays
		})
		w.run()
		w.r.SetNode(node("node-uid"))
		w.r.SetStatic([]*v1.Pod{static("a", "h2")})
		time.Sleep(time.Minute)
		if n := strings.Count(w.took(), "create a"); n < 3 || n > 30 {
			t.Errorf("tried %d times in a minute", n)
		}
		if err := w.api.Tracker().Delete(v1.SchemeGroupVersion.WithResource("pods"), "ns", "a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lastWait)
		synctest.Wait()
		if _, ok := w.r.UIDFor(static("a", "h2")); !ok {
			t.Error("not made once the old one was gone")
		}
	})
}

// A slowAPI takes its time to create pods.
type slowAPI struct{ corev1.PodsGetter }

type slowPods struct{ corev1.PodInterface }

func (s slowAPI) Pods(namespace string) corev1.PodInterface {
	return slowPods{s.PodsGetter.Pods(namespace)}
}

func (s slowPods) Create(ctx context.Context, p *v1.Pod, o metav1.CreateOptions) (*v1.Pod, error) {
	time.Sleep(10 * time.Millisecond)
	return s.PodInterface.Create(ctx, p, o)
}

func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		go w.follow(t.Context(), slowAPI{w.api.CoreV1()})
		var pods []*v1.Pod
		for i := range 60 {
			pods = append(pods, static(fmt.Sprintf("p%d", i), "h"))
		}
		w.r.SetStatic(pods)
		w.r.SetNode(node("node-uid"))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if n := w.r.Len(); n != 60 {
			t.Errorf("SP-51 %d mirrors after 100 ms", n)
		}
	})
}

// An API with late answers has done what it was asked to for a second already.
type lateAPI struct{ corev1.PodsGetter }

type latePods struct{ corev1.PodInterface }

func (l lateAPI) Pods(namespace string) corev1.PodInterface {
	return latePods{l.PodsGetter.Pods(namespace)}
}

func (l latePods) Create(ctx context.Context, p *v1.Pod, o metav1.CreateOptions) (*v1.Pod, error) {
	m, err := l.PodInterface.Create(ctx, p, o)
	time.Sleep(time.Second)
	return m, err
}

// A mirror can be gone before the answer comes that it was made (SP-53).
func TestDeletedBeforeTheAnswer(t *testing.T) {
	for name, others := range map[string]func(w *world){
		"as the watch tells": func(*world) {},
		"as a list tells": func(w *world) {
			if err := w.r.Store().Replace(nil, "9"); err != nil {
				w.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				go w.follow(t.Context(), lateAPI{w.api.CoreV1()})
				a := static("a", "h1")
				w.r.SetNode(node("node-uid"))
				w.r.SetStatic([]*v1.Pod{a})
				w.want("made", "create a")
				first := w.get("a")
				if err := w.api.CoreV1().Pods("ns").Delete(t.Context(), "a", force(first)); err != nil {
					t.Fatal(err)
				}
				w.want("deleted by somebody", "delete a")
				others(w)
				time.Sleep(time.Minute)
				w.want("SP-53 a new one", "create a")
				if uid, ok := w.r.UIDFor(a); !ok || uid != w.get("a").UID {
					t.Errorf("SP-53 the mirror's UID is %s, want %s", uid, w.get("a").UID)
				}
			})
		})
	}
}

// Or it has to go by then: the answer is older than what the watch told (SP-52).
func TestToGoBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		go w.follow(t.Context(), lateAPI{w.api.CoreV1()})
		w.r.SetNode(node("node-uid"))
		w.r.SetStatic([]*v1.Pod{static("a", "h1")})
		w.want("made", "create a")
		leaving := w.get("a").DeepCopy()
		leaving.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		if err := w.api.Tracker().Update(v1.SchemeGroupVersion.WithResource("pods"), leaving, "ns"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.want("SP-52 replaced", "delete a, create a")
	})
}

// A mirror that is known only here is no reason to ask for its end for ever.
func TestKnownOnlyHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		w.r.SetNode(node("node-uid"))
		w.r.SetStatic(nil)
		ghost := mirrorOf(static("a", "h1"), "ghost")
		w.r.seen(ghost)
		time.Sleep(time.Minute)
		w.want("it is asked for once", "delete a")
		if n := w.r.Len(); n != 0 {
			t.Errorf("%d mirrors", n)
		}
		if len(w.changes) < 2 {
			t.Error("nobody was told that it went")
		}
		w.r.seen(ghost)
		if n := w.r.Len(); n != 0 {
			t.Errorf("%d mirrors after it was spoken of again", n)
		}
	})
}
