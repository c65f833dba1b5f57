package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	v1 "k8s.io/api/core/v1"
	kubeletv1 "k8s.io/kubelet/config/v1"
	protocol "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

// A plugin is one credential provider: a program that is asked by image, and
// what it said before.
type plugin struct {
	kubeletv1.CredentialProvider
	run      func(context.Context, protocol.CredentialProviderRequest) (*protocol.CredentialProviderResponse, error)
	accounts *accounts // nil for one that is shown no tokens
	cache    cache
	flights  singleflight.Group
}

func newPlugin(p kubeletv1.CredentialProvider, program string, o PluginOptions) *plugin {
	made := &plugin{CredentialProvider: p, run: (&execution{p, program, o.Ran}).run}
	if p.TokenAttributes != nil {
		made.accounts = &accounts{api: o.Accounts, want: *p.TokenAttributes}
	}
	return made
}

// errNotMeant says that a plugin is not for the pod.
var errNotMeant = errors.New("not meant for this pod")

func (p *plugin) wants(image string) bool {
	for _, pattern := range p.MatchImages {
		if matches(pattern, image) {
			return true
		}
	}
	return false
}

// provide returns the logins for an image, from the cache or the program, and
// whom they belong to.
func (p *plugin) provide(ctx context.Context, of *v1.Pod, image string) (logins, Origin, error) {
	who, err := p.identify(ctx, of)
	if err != nil {
		return nil, Origin{}, err
	}
	scope := who.scope()
	if all, ok := p.cache.find(scope, image, time.Now()); ok {
		return all, who.origin, nil
	}
	answer, err := p.ask(ctx, who, image)
	if err != nil {
		return nil, Origin{}, err
	}
	if err := p.noEcho(who, answer); err != nil {
		return nil, Origin{}, err
	}
	all := logins{}
	for registry, auth := range answer.Auth {
		all[registry] = Login{Username: auth.Username, Password: auth.Password}
	}
	part, err := cachePart(answer.CacheKeyType, image)
	if err != nil {
		return nil, Origin{}, err
	}
	if lasts := cacheDuration(answer.CacheDuration, p.DefaultCacheDuration).Duration; lasts > 0 {
		p.cache.keep(scope, part, all, time.Now().Add(lasts))
	}
	return all, who.origin, nil
}

// identify finds out on whose behalf the plugin is asked.
func (p *plugin) identify(ctx context.Context, of *v1.Pod) (identity, error) {
	if p.accounts == nil {
		return identity{origin: Origin{Kind: Node}}, nil
	}
	return p.accounts.identify(ctx, of)
}

// ask runs the program, once for all that ask the same. Who asked first may be
// the first to give up; the others still want to know.
func (p *plugin) ask(ctx context.Context, who identity, image string) (*protocol.CredentialProviderResponse, error) {
	key := joined(image, who.token, joinedMap(who.annotations))
	done := p.flights.DoChan(key, func() (any, error) {
		return p.run(context.WithoutCancel(ctx), protocol.CredentialProviderRequest{
			Image: image, ServiceAccountToken: who.token, ServiceAccountAnnotations: who.annotations,
		})
	})
	select {
	case r := <-done:
		if r.Err != nil {
			return nil, r.Err
		}
		answer, ok := r.Val.(*protocol.CredentialProviderResponse)
		if !ok { // run returns nothing else
			return nil, errMalformed
		}
		return answer, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// noEcho refuses a token that comes back as a password, but for plugins that are
// known to do so: what is cached for an account would outlive its token.
func (p *plugin) noEcho(who identity, answer *protocol.CredentialProviderResponse) error {
	if who.token == "" || p.TokenAttributes.CacheType == kubeletv1.TokenServiceAccountTokenCacheType {
		return nil
	}
	for _, auth := range answer.Auth {
		if auth.Password == who.token {
			return errors.New("the plugin returned the service account token as password, which cacheType Token alone allows")
		}
	}
	return nil
}

// everything is the part of the cache that holds for all images. No image is
// called so.
const everything = "<global>"

// cachePart returns for which images an answer holds.
func cachePart(kind protocol.PluginCacheKeyType, image string) (string, error) {
	switch kind {
	case protocol.ImagePluginCacheKeyType:
		return image, nil
	case protocol.RegistryPluginCacheKeyType:
		return registryOf(image), nil
	case protocol.GlobalPluginCacheKeyType:
		return everything, nil
	}
	return "", fmt.Errorf("the plugin returned cacheKeyType %q, which is none", kind)
}

func registryOf(image string) string {
	registry, _, _ := strings.Cut(image, "/")
	return registry
}

// joined makes one key of several parts, none of which can pass for another.
func joined(parts ...string) string {
	data, err := json.Marshal(parts)
	if err != nil { // strings alone cannot fail
		return ""
	}
	return string(data)
}

func joinedMap(m map[string]string) string {
	data, err := json.Marshal(m) // sorted by key
	if err != nil {              // strings alone cannot fail
		return ""
	}
	return string(data)
}
