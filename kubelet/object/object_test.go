package object

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"boot.internal/kubelet/pod"
)

// A world is an API server with what it is asked, and a Store that uses it.
type world struct {
	*Store
	t      *testing.T
	client *fake.Clientset

	mu      sync.Mutex
	refuse  error // of every request
	watches []*apiwatch.RaceFreeFakeWatcher
	asked   map[string]int // requests by verb
	changed map[string]int // by pod
}

// newWorld returns a Store that runs until the test ends. Everything is in the
// test's bubble.
func newWorld(t *testing.T, objects ...runtime.Object) *world {
	w := &world{t: t, client: fake.NewClientset(objects...), asked: map[string]int{}, changed: map[string]int{}}
	w.client.PrependReactor("get", "*", func(k8stesting.Action) (bool, runtime.Object, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked["get"]++
		return w.refuse != nil, nil, w.refuse
	})
	w.client.PrependWatchReactor("*", func(k8stesting.Action) (bool, apiwatch.Interface, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked["watch"]++
		watcher := apiwatch.NewRaceFreeFake()
		w.watches = append(w.watches, watcher)
		return true, watcher, w.refuse
	})
	w.Store = New(Options{Log: slog.New(slog.DiscardHandler), Changed: func(key pod.Key, _ types.UID) {
		w.mu.Lock()
		w.changed[key.Name]++
		w.mu.Unlock()
	}})
	return w
}

// run runs the Store, and returns once it has nothing more to do.
func (w *world) run() {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { w.Run(ctx, w.client.CoreV1()); close(done) }()
	w.t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
}

// hears sends an event to the latest watch.
func (w *world) hears(send func(*apiwatch.RaceFreeFakeWatcher)) {
	w.mu.Lock()
	last := w.watches[len(w.watches)-1]
	w.mu.Unlock()
	send(last)
	synctest.Wait()
}

func (w *world) refuses(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = err
}

func (w *world) requests() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.asked)
}

// told returns how often each pod was told of, once all is said.
func (w *world) told() map[string]int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.changed)
}

// value returns the data of the one secret, or the error.
func (w *world) value() string {
	s, err := w.Secret(w.t.Context(), "ns", "s")
	if err != nil {
		return err.Error()
	}
	return string(s.Data["k"])
}

func newSecret(version, value string) *v1.Secret {
	return &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s", UID: "u", ResourceVersion: version},
		Data:       map[string][]byte{"k": []byte(value)},
	}
}

// newPod returns a pod that mounts the secret.
func newPod(name string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name)},
		Spec: v1.PodSpec{Volumes: []v1.Volume{
			{Name: "v", VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "s"}}},
		}},
	}
}

func expect[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestWatchedWhileAnyPodUsesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newSecret("1", "a"))
		w.SetPods([]*v1.Pod{newPod("a"), newPod("b")})
		w.run()
		expect(t, "value", w.value(), "a")
		expect(t, "requests for two pods", w.requests(), map[string]int{"watch": 1, "get": 1})
		w.SetPods([]*v1.Pod{newPod("b")})
		synctest.Wait()
		expect(t, "stopped with one pod left", w.watches[0].IsStopped(), false)
		w.SetPods(nil)
		synctest.Wait()
		expect(t, "stopped with none left", w.watches[0].IsStopped(), true)
		expect(t, "objects left", len(w.entries), 0)
	})
}

func TestChangesAreHeardAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.SetPods([]*v1.Pod{newPod("a"), newPod("b")})
		w.run()
		expect(t, "missing", w.value(), `secret "s" not found`)
		w.hears(func(f *apiwatch.RaceFreeFakeWatcher) { f.Add(newSecret("2", "b")) })
		expect(t, "added", w.value(), "b")
		w.hears(func(f *apiwatch.RaceFreeFakeWatcher) { f.Modify(newSecret("3", "c")) })
		expect(t, "modified", w.value(), "c")
		w.hears(func(f *apiwatch.RaceFreeFakeWatcher) { f.Modify(newSecret("2", "b")) })
		expect(t, "old news", w.value(), "c")
		w.hears(func(f *apiwatch.RaceFreeFakeWatcher) { f.Delete(newSecret("2", "b")) })
		expect(t, "old end", w.value(), "c")
		expect(t, "told", w.told(), map[string]int{"a": 2, "b": 2}) // added, modified
		w.hears(func(f *apiwatch.RaceFreeFakeWatcher) { f.Delete(newSecret("4", "c")) })
		_, err := w.Secret(t.Context(), "ns", "s")
		expect(t, "deleted is NotFound", apierrors.IsNotFound(err), true)
	})
}

func TestOtherNamesAreNotMistaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newSecret("1", "a"))
		w.SetPods([]*v1.Pod{newPod("a")})
		w.run()
		other := newSecret("2", "x")
		other.Name = "other"
		w.hears(func(f *apiwatch.RaceFreeFakeWatcher) { f.Modify(other) })
		expect(t, "value", w.value(), "a")
	})
}

func TestImmutableIsNotWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSecret("1", "a")
		s.Immutable = new(true)
		w := newWorld(t, s)
		w.SetPods([]*v1.Pod{newPod("a")})
		w.run()
		expect(t, "value", w.value(), "a")
		expect(t, "stopped", w.watches[0].IsStopped(), true)
		time.Sleep(24 * time.Hour)
		expect(t, "value a day later", w.value(), "a")
		expect(t, "requests", w.requests(), map[string]int{"watch": 1, "get": 1})
	})
}

func TestNewPodSeesWhatTheWatchHasNotToldYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newSecret("1", "a"))
		w.SetPods([]*v1.Pod{newPod("a")})
		w.run()
		if err := w.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("secrets"), newSecret("2", "b"), "ns"); err != nil {
			t.Fatal(err)
		}
		expect(t, "value of the old pod", w.value(), "a")
		w.SetPods([]*v1.Pod{newPod("a"), newPod("b")})
		expect(t, "value of the new pod", w.value(), "b")
		w.value()
		expect(t, "requests", w.requests(), map[string]int{"watch": 1, "get": 2})
	})
}

func TestLastKnownWhileTheServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newSecret("1", "a"))
		w.SetPods([]*v1.Pod{newPod("a")})
		w.run()
		w.refuses(errors.New("connection refused"))
		w.hears(func(f *apiwatch.RaceFreeFakeWatcher) { f.Stop() })
		time.Sleep(time.Hour)
		w.SetPods([]*v1.Pod{newPod("a"), newPod("b")})
		expect(t, "value", w.value(), "a")
		if err := w.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("secrets"), newSecret("2", "b"), "ns"); err != nil {
			t.Fatal(err)
		}
		w.refuses(nil)
		time.Sleep(11 * time.Second) // the longest pause
		synctest.Wait()
		expect(t, "value after", w.value(), "b")
	})
}

func TestWaitsUntilKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newSecret("1", "a"))
		w.refuses(errors.New("connection refused"))
		w.SetPods([]*v1.Pod{newPod("a")})
		expect(t, "before there is a server", w.value(), "failed to sync secret cache: no API server yet")
		w.run()
		start := time.Now()
		expect(t, "away", w.value(), "failed to sync secret cache: connection refused")
		expect(t, "waited", time.Since(start), 10*time.Second)
		time.AfterFunc(time.Second, func() { w.refuses(nil) })
		expect(t, "back", w.value(), "a")
		expect(t, "told, for the first two went away", w.told(), map[string]int{"a": 1})
	})
}

func TestRefusalIsToldOnceItLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newSecret("1", "a"))
		forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "s", errors.New("no relationship found"))
		w.refuses(forbidden)
		w.SetPods([]*v1.Pod{newPod("a")})
		w.run()
		time.AfterFunc(500*time.Millisecond, func() { w.refuses(nil) }) // the server knew of the pod late
		expect(t, "late right", w.value(), "a")

		w = newWorld(t)
		w.refuses(forbidden)
		w.SetPods([]*v1.Pod{newPod("a")})
		w.run()
		start := time.Now()
		_, err := w.Secret(t.Context(), "ns", "s")
		expect(t, "forbidden", apierrors.IsForbidden(err), true)
		if waited := time.Since(start); waited < time.Second || waited > 3*time.Second {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestOnlyWhatIdentifiesIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSecret("1", "a")
		s.Annotations = map[string]string{v1.LastAppliedConfigAnnotation: "all of it"}
		s.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
		w := newWorld(t, s)
		w.SetPods([]*v1.Pod{newPod("a")})
		w.run()
		got, err := w.Secret(t.Context(), "ns", "s")
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "metadata", got.ObjectMeta, metav1.ObjectMeta{Namespace: "ns", Name: "s", UID: "u", ResourceVersion: "1"})
	})
}

func TestWhatNoPodNamesIsReadAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newSecret("1", "a"))
		w.run()
		expect(t, "value", w.value(), "a")
		expect(t, "requests", w.requests(), map[string]int{"get": 1})
		expect(t, "entries", len(w.entries), 0)
	})
}

func TestStaticPodsNameNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newSecret("1", "a"))
		p := newPod("a")
		p.Annotations = map[string]string{pod.ConfigSource: pod.SourceFile}
		w.SetPods([]*v1.Pod{p})
		w.run()
		expect(t, "requests", w.requests(), map[string]int{})
	})
}

func TestAnEphemeralContainerMayNameMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.SetPods([]*v1.Pod{newPod("a")})
		w.run()
		next := newPod("a")
		debug := v1.EphemeralContainer{}
		debug.EnvFrom = []v1.EnvFromSource{{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "c"}}}}
		next.Spec.EphemeralContainers = []v1.EphemeralContainer{debug}
		w.SetPods([]*v1.Pod{next})
		synctest.Wait()
		expect(t, "requests", w.requests(), map[string]int{"watch": 2, "get": 2})
	})
}

func TestRefs(t *testing.T) {
	local := func(name string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: name} }
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: v1.PodSpec{
		ImagePullSecrets: []v1.LocalObjectReference{local("pull"), local("")},
		InitContainers: []v1.Container{{EnvFrom: []v1.EnvFromSource{
			{SecretRef: &v1.SecretEnvSource{LocalObjectReference: local("from"), Optional: new(true)}},
			{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: local("from")}},
		}}},
		Containers: []v1.Container{{Env: []v1.EnvVar{
			{Name: "PLAIN", Value: "x"},
			{ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: local("key")}}},
			{ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: local("key")}}},
		}}},
		Volumes: []v1.Volume{
			{VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "vol"}}},
			{VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: local("vol")}}},
			{VolumeSource: v1.VolumeSource{CSI: &v1.CSIVolumeSource{NodePublishSecretRef: &v1.LocalObjectReference{Name: "csi"}}}},
			{VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
				{Secret: &v1.SecretProjection{LocalObjectReference: local("proj")}},
				{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: local("proj")}},
			}}}},
		},
	}}
	var got []string
	for r := range refsOf(p) {
		got = append(got, strings.ReplaceAll(r.String(), " ns/", " "))
	}
	slices.Sort(got)
	expect(t, "refs", got, []string{
		"configmap from", "configmap key", "configmap proj", "configmap vol",
		"secret csi", "secret from", "secret key", "secret proj", "secret pull", "secret vol",
	})
}
