package credential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1 "k8s.io/kubelet/config/v1"
)

// Accounts knows service accounts and makes their tokens.
type Accounts interface {
	ServiceAccount(ctx context.Context, namespace, name string) (*v1.ServiceAccount, error)
	Token(ctx context.Context, namespace, name string, r *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error)
}

// An identity is on whose behalf a plugin is asked.
type identity struct {
	origin      Origin
	token       string            // "" for plugins that are shown none, and pods without an account
	tokenCounts bool              // what is cached holds for this token alone
	annotations map[string]string // of the account, those that the plugin wants
}

// scope returns what an answer for this identity may be found again by.
func (i identity) scope() string {
	parts := []string{i.origin.Namespace, i.origin.Name, i.origin.UID, joinedMap(i.annotations)}
	if i.tokenCounts {
		sum := sha256.Sum256([]byte(i.token))
		parts = append(parts, hex.EncodeToString(sum[:]))
	}
	return joined(parts...)
}

// accounts make the identities for one plugin (KEP-4412).
type accounts struct {
	api  Accounts
	want kubeletv1.ServiceAccountTokenAttributes

	mu     sync.Mutex // guards tokens
	tokens map[tokenKey]heldToken
}

// A tokenKey names what a token is bound to.
type tokenKey struct{ namespace, account, accountUID, pod, podUID string }

type heldToken struct {
	token   string
	renew   time.Time // not to be used from then on
	expires time.Time
}

// identify returns the identity of a pod. A pod that the plugin is not meant for
// gets errNotMeant: it has no account where one is required, or one that lacks
// an annotation by which workloads opt in.
func (a *accounts) identify(ctx context.Context, p *v1.Pod) (identity, error) {
	name := p.Spec.ServiceAccountName
	if name == "" {
		if *a.want.RequireServiceAccount {
			return identity{}, errNotMeant
		}
		return identity{origin: Origin{Kind: Node}}, nil
	}
	if a.api == nil {
		return identity{}, errors.New("get service account: there is no API server")
	}
	account, err := a.api.ServiceAccount(ctx, p.Namespace, name)
	if err != nil {
		return identity{}, fmt.Errorf("get service account: %w", err)
	}
	who := identity{
		origin:      Origin{ServiceAccount, string(account.UID), p.Namespace, name},
		annotations: map[string]string{}, tokenCounts: a.want.CacheType == kubeletv1.TokenServiceAccountTokenCacheType,
	}
	for _, key := range a.want.RequiredServiceAccountAnnotationKeys {
		value, ok := account.Annotations[key]
		if !ok {
			return identity{}, errNotMeant
		}
		who.annotations[key] = value
	}
	for _, key := range a.want.OptionalServiceAccountAnnotationKeys {
		if value, ok := account.Annotations[key]; ok {
			who.annotations[key] = value
		}
	}
	who.token, err = a.token(ctx, p, account)
	return who, err
}

// token returns a token of the account bound to the pod, the same one until most
// of its life is over.
func (a *accounts) token(ctx context.Context, p *v1.Pod, account *v1.ServiceAccount) (string, error) {
	key := tokenKey{p.Namespace, account.Name, string(account.UID), p.Name, string(p.UID)}
	if token, ok := a.held(key, time.Now()); ok {
		return token, nil
	}
	asked := time.Now()
	r, err := a.api.Token(ctx, p.Namespace, account.Name, &authenticationv1.TokenRequest{
		ObjectMeta: metav1.ObjectMeta{UID: account.UID},
		Spec: authenticationv1.TokenRequestSpec{
			Audiences:      []string{a.want.ServiceAccountTokenAudience},
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID},
		},
	})
	if err != nil {
		return "", fmt.Errorf("get service account token: %w", err)
	}
	expires := r.Status.ExpirationTimestamp.Time
	a.hold(key, heldToken{r.Status.Token, asked.Add(expires.Sub(asked) * 4 / 5), expires})
	return r.Status.Token, nil
}

func (a *accounts) held(key tokenKey, now time.Time) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.tokens[key]
	return t.token, ok && now.Before(t.renew)
}

func (a *accounts) hold(key tokenKey, t heldToken) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for old, held := range a.tokens {
		if time.Now().After(held.expires) {
			delete(a.tokens, old)
		}
	}
	if a.tokens == nil {
		a.tokens = map[tokenKey]heldToken{}
	}
	a.tokens[key] = t
}
