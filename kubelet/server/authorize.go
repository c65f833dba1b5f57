package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// Reviews is the API server as the one who knows users and their rights.
type Reviews interface {
	ReviewToken(ctx context.Context, token string) (authenticationv1.TokenReviewStatus, error)
	ReviewAccess(ctx context.Context, spec authorizationv1.SubjectAccessReviewSpec) (authorizationv1.SubjectAccessReviewStatus, error)
}

// An authorizer finds out whether somebody may ask.
type authorizer struct {
	node     string
	always   bool
	allowed  time.Duration
	denied   time.Duration
	verdicts *cache.LRUExpireCache // question → verdict
	reviews  func() Reviews
}

type verdict struct {
	allowed bool
	reason  string
}

func newAuthorizer(o Options) *authorizer {
	c := o.Config.Authorization
	return &authorizer{
		node:     o.Node,
		always:   c.Mode == kubeletv1beta1.KubeletAuthorizationModeAlwaysAllow,
		allowed:  c.Webhook.CacheAuthorizedTTL.Duration,
		denied:   c.Webhook.CacheUnauthorizedTTL.Duration,
		verdicts: cache.NewLRUExpireCache(cached),
		reviews:  o.Reviews,
	}
}

// authorize returns why a request may not be made: a forbidden error, or another
// where nobody can tell. Without an API server only what it allowed before is
// allowed.
func (a *authorizer) authorize(r *http.Request, user authenticationv1.UserInfo) error {
	if a.always {
		return nil
	}
	verb := verbOf(r)
	var last verdict
	resources := subresources(r.URL.Path)
	for _, sub := range resources {
		v, err := a.ask(r.Context(), user, verb, sub)
		if err != nil {
			return fmt.Errorf("user=%s, verb=%s, resource=nodes, subresource=%s: %w", user.Username, verb, sub, err)
		}
		if v.allowed {
			return nil
		}
		last = v
	}
	return &forbidden{fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=%v)%s", user.Username, verb, resources, reason(last))}
}

// Forbidden says that somebody may not do what they ask for.
type forbidden struct{ message string }

func (f *forbidden) Error() string { return f.message }

func reason(v verdict) string {
	if v.reason == "" {
		return ""
	}
	return ": " + v.reason
}

func (a *authorizer) ask(ctx context.Context, user authenticationv1.UserInfo, verb, sub string) (verdict, error) {
	groups := slices.Sorted(slices.Values(user.Groups))
	key := strings.Join(append([]string{user.Username, user.UID, verb, sub}, groups...), "\x00")
	if v, ok := a.verdicts.Get(key); ok {
		return v.(verdict), nil
	}
	reviews := a.reviews()
	if reviews == nil {
		return verdict{}, errNoAPI
	}
	status, err := reviews.ReviewAccess(ctx, authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra(user),
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: verb, Version: "v1", Resource: "nodes", Subresource: sub, Name: a.node,
		},
	})
	if err != nil {
		return verdict{}, fmt.Errorf("ask API server: %w", err)
	}
	if status.EvaluationError != "" && !status.Allowed {
		return verdict{}, errors.New(status.EvaluationError)
	}
	v := verdict{status.Allowed, status.Reason}
	ttl := a.denied
	if v.allowed {
		ttl = a.allowed
	}
	a.verdicts.Add(key, v, ttl)
	return v, nil
}

func extra(user authenticationv1.UserInfo) map[string]authorizationv1.ExtraValue {
	all := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for k, v := range user.Extra {
		all[k] = authorizationv1.ExtraValue(v)
	}
	return all
}

// verbOf returns the verb of the API for a request. To run something takes the
// right to create, also where a WebSocket begins with a GET.
func verbOf(r *http.Request) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if first == "exec" || first == "attach" || first == "portForward" {
		return "create"
	}
	switch r.Method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	case http.MethodGet:
		return "get"
	}
	return "" // allowed to those who may do anything
}

// subresources returns the subresources of nodes of which the right to one
// suffices for a path: the fine-grained one, then the one for everything
// (KEP-2862).
func subresources(path string) []string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "stats", "metrics", "checkpoint", "statusz":
		return []string{first}
	case "logs":
		return []string{"log"}
	case "flagz":
		return []string{"configz"}
	case "pods", "runningpods":
		return []string{"pods", "proxy"}
	case "healthz", "configz":
		return []string{first, "proxy"}
	}
	return []string{"proxy"}
}
