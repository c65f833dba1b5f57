// Package token keeps tokens of service accounts for the pods of this node.
//
// It decides when a token is good enough to be used again, and when it is time
// for another: once four fifths of its life have passed, or a day. It says so,
// and gets the new one when it is asked for. Every token is bound to its pod,
// so that it dies with it. Tokens are in no log and no error. Where they are
// put is left to those who ask.
package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

const (
	longest = 24 * time.Hour   // after this, a token is replaced whatever its life
	jitter  = 10 * time.Second // at most so much earlier, so that not all are replaced together
	again   = 30 * time.Second // after a token could not be replaced
	timeout = 10 * time.Second // of one request
)

// Options say whom to tell.
type Options struct {
	// Due is called when it is time for another token of a pod: Token will get
	// it. It must not block. May be nil.
	Due func(uid types.UID)
	Log *slog.Logger
}

// A Store keeps tokens. Its methods may be called from any goroutine.
type Store struct {
	o    Options
	poke chan struct{} // capacity 1: many pokes before a look are one

	mu     sync.Mutex // guards all below
	client corev1.ServiceAccountsGetter
	tokens map[id]*token
}

// An id tells tokens of a pod apart.
type id struct {
	uid      types.UID
	audience string
	seconds  int64
}

// A token is one that was issued, with the times that matter.
type token struct {
	value   []byte
	expires time.Time
	due     time.Time // when another is needed
	told    bool      // that it is due
}

// New returns a Store without tokens.
func New(o Options) *Store {
	if o.Due == nil {
		o.Due = func(types.UID) {}
	}
	return &Store{o: o, poke: make(chan struct{}, 1), tokens: map[id]*token{}}
}

// Token returns a token of the pod's service account, for an audience, that is
// meant to live for so many seconds. An empty audience is that of the API
// server, and without seconds it says how long. What an earlier process left is
// used on if it is such a token; have may be nil. While the API server is away,
// a token that is due but has not expired has to do.
func (s *Store) Token(ctx context.Context, p *v1.Pod, audience string, seconds *int64, have []byte) ([]byte, error) {
	which := id{uid: p.UID, audience: audience}
	if seconds != nil {
		which.seconds = *seconds
	}
	now := time.Now()
	s.mu.Lock()
	old, client := s.tokens[which], s.client
	s.mu.Unlock()
	if old == nil {
		if old = adopt(have, p, audience); old != nil {
			s.put(which, old)
		}
	}
	if old != nil && now.Before(old.due) {
		return old.value, nil
	}
	fresh, err := request(ctx, client, p, audience, seconds)
	switch {
	case err == nil:
	case old == nil:
		return nil, fmt.Errorf("failed to fetch token: %w", err) // upstream's words, as the next
	case now.After(old.expires):
		return nil, fmt.Errorf("token expired and refresh failed: %w", err)
	default:
		s.o.Log.LogAttrs(ctx, slog.LevelWarn, "token cannot be replaced yet", slog.String("uid", string(p.UID)), slog.Any("err", err))
		fresh = &token{value: old.value, expires: old.expires, due: now.Add(again)}
	}
	s.put(which, fresh)
	return fresh.value, nil
}

// request asks the API server for a token that is bound to the pod.
func request(ctx context.Context, client corev1.ServiceAccountsGetter, p *v1.Pod, audience string, seconds *int64) (*token, error) {
	if client == nil {
		return nil, errors.New("no API server yet")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var audiences []string
	if audience != "" {
		audiences = []string{audience}
	}
	r, err := client.ServiceAccounts(p.Namespace).CreateToken(ctx, p.Spec.ServiceAccountName, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			Audiences: audiences, ExpirationSeconds: seconds,
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return issued(r, time.Now()), nil
}

// issued reads a token from what the API server says of it. The life it says is
// the one that counts here, even where it lets tokens live longer.
func issued(r *authenticationv1.TokenRequest, now time.Time) *token {
	t := &token{value: []byte(r.Status.Token), expires: r.Status.ExpirationTimestamp.Time}
	life := t.expires.Sub(now)
	if r.Spec.ExpirationSeconds != nil {
		life = time.Duration(*r.Spec.ExpirationSeconds) * time.Second
	}
	t.due = due(t.expires, life).Add(-rand.N(jitter))
	return t
}

// due returns when a token is to be replaced that lives for so long, until it
// expires.
func due(expires time.Time, life time.Duration) time.Time {
	born := expires.Add(-life)
	return born.Add(min(life*8/10, longest))
}

func (s *Store) put(which id, t *token) {
	s.mu.Lock()
	s.tokens[which] = t
	s.mu.Unlock()
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// Keep forgets the tokens of all pods but these.
func (s *Store) Keep(pods []*v1.Pod) {
	here := make(map[types.UID]bool, len(pods))
	for _, p := range pods {
		here[p.UID] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for which := range s.tokens {
		if !here[which.uid] {
			delete(s.tokens, which)
		}
	}
}

// Run gets tokens through client until ctx ends, and tells when they are due.
// It is called once.
func (s *Store) Run(ctx context.Context, client corev1.ServiceAccountsGetter) {
	s.mu.Lock()
	s.client = client
	s.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.poke:
		case <-timer.C:
		}
		uids, next := s.takeDue(time.Now())
		for _, uid := range uids {
			s.o.Due(uid)
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// takeDue returns the pods with a token that is due and was not told yet, and
// when the next will be.
func (s *Store) takeDue(now time.Time) (uids []types.UID, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for which, t := range s.tokens {
		switch {
		case t.told:
		case !now.Before(t.due):
			t.told = true
			uids = append(uids, which.uid)
		case next.IsZero() || t.due.Before(next):
			next = t.due
		}
	}
	return uids, next
}
