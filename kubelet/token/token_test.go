package token

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

// An issuer is an API server that issues tokens with a number each.
type issuer struct {
	*Store
	t *testing.T

	mu    sync.Mutex
	asked []authenticationv1.TokenRequest
	err   error
	due   int // how often something was
}

// newIssuer returns a Store that runs, in the test's bubble.
func newIssuer(t *testing.T) *issuer {
	i := &issuer{t: t}
	client := fake.NewClientset()
	client.PrependReactor("create", "serviceaccounts/token", func(a k8stesting.Action) (bool, runtime.Object, error) {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.err != nil {
			return true, nil, i.err
		}
		r := a.(k8stesting.CreateActionImpl).Object.(*authenticationv1.TokenRequest).DeepCopy()
		i.asked = append(i.asked, *r)
		if r.Spec.ExpirationSeconds == nil {
			r.Spec.ExpirationSeconds = new(int64(3600))
		}
		r.Status.Token = fmt.Sprintf("token %d", len(i.asked))
		r.Status.ExpirationTimestamp = metav1.NewTime(time.Now().Add(time.Duration(*r.Spec.ExpirationSeconds) * time.Second))
		return true, r, nil
	})
	i.Store = New(Options{Log: slog.New(slog.DiscardHandler), Due: func(types.UID) {
		i.mu.Lock()
		i.due++
		i.mu.Unlock()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { i.Run(ctx, client.CoreV1()); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return i
}

func newPod(uid types.UID) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: uid},
		Spec:       v1.PodSpec{ServiceAccountName: "robot"},
	}
}

// get returns the token of a pod that is to live for a time, or the error.
func (i *issuer) get(uid types.UID, life time.Duration) string {
	token, err := i.Token(i.t.Context(), newPod(uid), "", new(int64(life.Seconds())), nil)
	if err != nil {
		return err.Error()
	}
	return string(token)
}

func (i *issuer) refuse(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
}

func (i *issuer) told() int {
	synctest.Wait()
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.due
}

func expect[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestWhatIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		if _, err := i.Token(t.Context(), newPod("a"), "vault", new(int64(600)), nil); err != nil {
			t.Fatal(err)
		}
		expect(t, "request", i.asked[0].Spec, authenticationv1.TokenRequestSpec{
			Audiences: []string{"vault"}, ExpirationSeconds: new(int64(600)),
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "a"},
		})
	})
}

func TestReplacedAfterFourFifthsOfItsLifeOrADay(t *testing.T) {
	for name, tc := range map[string]struct{ life, at time.Duration }{
		"ten minutes": {600 * time.Second, 480 * time.Second},
		"an hour":     {time.Hour, 48 * time.Minute},
		"a year":      {365 * 24 * time.Hour, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := newIssuer(t)
				expect(t, "first", i.get("a", tc.life), "token 1")
				time.Sleep(tc.at - jitter - time.Second)
				expect(t, "told early", i.told(), 0)
				expect(t, "before its time", i.get("a", tc.life), "token 1")
				time.Sleep(jitter + 2*time.Second)
				expect(t, "told", i.told(), 1)
				expect(t, "after its time", i.get("a", tc.life), "token 2")
				time.Sleep(tc.at + 2*time.Second)
				expect(t, "told again", i.told(), 2)
			})
		})
	}
}

func TestOldTokenHasToDoWhileThereIsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		expect(t, "first", i.get("a", time.Hour), "token 1")
		i.refuse(errors.New("connection refused"))
		time.Sleep(50 * time.Minute)
		expect(t, "told", i.told(), 1)
		expect(t, "away", i.get("a", time.Hour), "token 1")
		time.Sleep(again + time.Second)
		expect(t, "told to try again", i.told(), 2)
		time.Sleep(10 * time.Minute)
		expect(t, "expired", i.get("a", time.Hour), "token expired and refresh failed: connection refused")
		expect(t, "never issued", i.get("b", time.Hour), "failed to fetch token: connection refused")
		i.refuse(nil)
		expect(t, "back", i.get("a", time.Hour), "token 2")
	})
}

func TestEveryPodAudienceAndLifeHasItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		expect(t, "a", i.get("a", time.Hour), "token 1")
		expect(t, "same", i.get("a", time.Hour), "token 1")
		expect(t, "another life", i.get("a", 2*time.Hour), "token 2")
		expect(t, "another pod", i.get("b", time.Hour), "token 3")
		i.Keep([]*v1.Pod{newPod("b")})
		expect(t, "kept", i.get("b", time.Hour), "token 3")
		expect(t, "forgotten", i.get("a", time.Hour), "token 4")
	})
}

func jwt(claims string) []byte {
	return []byte("x." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".y")
}

func TestWhatAnEarlierProcessLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().Unix()
		good := jwt(fmt.Sprintf(`{"aud":["api"],"iat":%d,"exp":%d,"kubernetes.io":{"pod":{"uid":"a"}}}`, now-60, now+3540))
		for name, tc := range map[string]struct {
			have     []byte
			audience string
			adopted  bool
		}{
			"good":           {good, "", true},
			"audience":       {good, "api", true},
			"other audience": {good, "vault", false},
			"one audience":   {jwt(fmt.Sprintf(`{"aud":"api","iat":%d,"exp":%d,"kubernetes.io":{"pod":{"uid":"a"}}}`, now, now+3600)), "api", true},
			"other pod":      {jwt(fmt.Sprintf(`{"iat":%d,"exp":%d,"kubernetes.io":{"pod":{"uid":"b"}}}`, now, now+3600)), "", false},
			"due":            {jwt(fmt.Sprintf(`{"iat":%d,"exp":%d,"kubernetes.io":{"pod":{"uid":"a"}}}`, now-3000, now+600)), "", false},
			"due by warning": {jwt(fmt.Sprintf(`{"iat":%d,"exp":%d,"kubernetes.io":{"pod":{"uid":"a"},"warnafter":%d}}`, now-3000, now+1e7, now+600)), "", false},
			"nothing":        {nil, "", false},
			"garbage":        {[]byte("a.b.c"), "", false},
		} {
			i := newIssuer(t)
			got, err := i.Token(t.Context(), newPod("a"), tc.audience, new(int64(3600)), tc.have)
			if err != nil {
				t.Fatal(err)
			}
			if adopted := !strings.HasPrefix(string(got), "token "); adopted != tc.adopted {
				t.Errorf("%s: adopted %v", name, adopted)
			}
		}
	})
}
