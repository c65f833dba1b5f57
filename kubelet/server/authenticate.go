package server

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/util/cache"
)

// Well-known users and groups of Kubernetes.
const (
	userAnonymous      = "system:anonymous"
	groupAnonymous     = "system:unauthenticated"
	groupAuthenticated = "system:authenticated"
)

// cached is how many tokens, and how many verdicts, are remembered.
const cached = 1024

// errNoAPI says that only the API server could tell.
var errNoAPI = errors.New("there is no API server to ask")

// An authenticator finds out who asks.
type authenticator struct {
	anonymous bool
	webhook   bool
	tokenTTL  time.Duration
	tokens    *cache.LRUExpireCache // hash of token → authenticationv1.UserInfo
	reviews   func() Reviews
	roots     *roots
}

func newAuthenticator(o Options) *authenticator {
	c := o.Config.Authentication
	return &authenticator{
		anonymous: c.Anonymous.Enabled != nil && *c.Anonymous.Enabled,
		webhook:   c.Webhook.Enabled != nil && *c.Webhook.Enabled,
		tokenTTL:  c.Webhook.CacheTTL.Duration,
		tokens:    cache.NewLRUExpireCache(cached),
		reviews:   o.Reviews,
		roots:     &roots{file: c.X509.ClientCAFile},
	}
}

// authenticate returns who asks: by client certificate, by token, or, where
// that is allowed, nobody in particular.
func (a *authenticator) authenticate(r *http.Request) (authenticationv1.UserInfo, error) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && a.roots.file != "" {
		return a.byCertificate(r.TLS.PeerCertificates)
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && a.webhook {
		return a.byToken(r.Context(), strings.TrimSpace(token))
	}
	if a.anonymous {
		return authenticationv1.UserInfo{Username: userAnonymous, Groups: []string{groupAnonymous}}, nil
	}
	return authenticationv1.UserInfo{}, errors.New("no client certificate and no token")
}

func (a *authenticator) byCertificate(chain []*x509.Certificate) (authenticationv1.UserInfo, error) {
	pool, err := a.roots.pool()
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("verify client certificate: %w", err)
	}
	subject := chain[0].Subject
	if subject.CommonName == "" {
		return authenticationv1.UserInfo{}, errors.New("client certificate names nobody")
	}
	return authenticationv1.UserInfo{Username: subject.CommonName, Groups: append(slices.Clone(subject.Organization), groupAuthenticated)}, nil
}

func (a *authenticator) byToken(ctx context.Context, token string) (authenticationv1.UserInfo, error) {
	key := sha256.Sum256([]byte(token)) // tokens are not kept
	if user, ok := a.tokens.Get(key); ok {
		return user.(authenticationv1.UserInfo), nil
	}
	reviews := a.reviews()
	if reviews == nil {
		return authenticationv1.UserInfo{}, errNoAPI
	}
	status, err := reviews.ReviewToken(ctx, token)
	if err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("ask API server about token: %w", err)
	}
	if !status.Authenticated {
		return authenticationv1.UserInfo{}, errors.New("token is not valid")
	}
	a.tokens.Add(key, status.User, a.tokenTTL)
	return status.User, nil
}

// Roots are the certificate authorities of clients, read again when their file
// changes.
type roots struct {
	file string

	mu   sync.Mutex // guards the fields below
	read time.Time  // modification time of what was read
	last *x509.CertPool
}

func (r *roots) pool() (*x509.CertPool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fi, err := os.Stat(r.file)
	if err != nil {
		return nil, fmt.Errorf("read client CA: %w", err)
	}
	if r.last != nil && fi.ModTime().Equal(r.read) {
		return r.last, nil
	}
	data, err := os.ReadFile(r.file)
	if err != nil {
		return nil, fmt.Errorf("read client CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("read client CA %s: no certificate in it", r.file)
	}
	r.last, r.read = pool, fi.ModTime()
	return pool, nil
}
