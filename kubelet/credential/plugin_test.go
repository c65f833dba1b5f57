package credential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1 "k8s.io/kubelet/config/v1"
	protocol "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

// TestMain is also the plugin: it answers what its first argument says.
func TestMain(m *testing.M) {
	if os.Getenv("PLUGIN") == "" {
		os.Exit(m.Run())
	}
	var r protocol.CredentialProviderRequest
	in, err := io.ReadAll(os.Stdin)
	if err != nil || json.Unmarshal(in, &r) != nil || r.Kind != "CredentialProviderRequest" || r.APIVersion != os.Getenv("PLUGIN") {
		_, _ = fmt.Fprintf(os.Stderr, "asked %s\n", in)
		os.Exit(3)
	}
	_, _ = fmt.Print(strings.ReplaceAll(os.Args[1], "IMAGE", r.Image))
	os.Exit(0)
}

func sha256Hex(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestPlugin(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "plug")); err != nil {
		t.Fatal(err)
	}
	const version = protocolGroup + "v1"
	for _, c := range []struct{ name, answer, env, want, fails string }{
		{"an answer", `{"apiVersion":"` + version + `","kind":"CredentialProviderResponse","cacheKeyType":"Image","auth":{"reg.test":{"username":"u","password":"IMAGE"}}}`, version, "reg.test/a", ""},
		{"another version", `{"apiVersion":"` + protocolGroup + `v1beta1","kind":"CredentialProviderResponse","cacheKeyType":"Image"}`, version, "", "is not"},
		{"an unknown field", `{"apiVersion":"` + version + `","kind":"CredentialProviderResponse","cacheKeyType":"Image","x":"secret"}`, version, "", "malformed"},
		{"no cache key", `{"apiVersion":"` + version + `","kind":"CredentialProviderResponse"}`, version, "", "cacheKeyType"},
		{"it fails", "", "v0", "", `exit status 3: asked {"kind":"CredentialProviderRequest"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ran []error
			plugins, err := NewPlugins(PluginOptions{
				Providers: []kubeletv1.CredentialProvider{{
					Name: "plug", APIVersion: version, Args: []string{c.answer}, MatchImages: []string{"*.test"},
					Env: []kubeletv1.ExecEnvVar{{Name: "PLUGIN", Value: c.env}}, DefaultCacheDuration: &metav1.Duration{},
				}},
				Dir: dir, Ran: func(_ string, _ time.Duration, err error) { ran = append(ran, err) }, Log: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			all, from, err := plugins.all[0].provide(t.Context(), &v1.Pod{}, "reg.test/a")
			if all["reg.test"].Password != c.want || from.Kind != Node && c.want != "" {
				t.Errorf("%v of %v", all, from)
			}
			if (err != nil) != (c.fails != "") || err != nil && (!strings.Contains(err.Error(), c.fails) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("error %v, want %s", err, c.fails)
			}
			if len(ran) != 1 || (ran[0] != nil) != (c.env != version) {
				t.Errorf("ran %v", ran)
			}
			if found := plugins.lookup(t.Context(), &v1.Pod{}, "reg.test/a"); (len(found) == 1) != (c.want != "") {
				t.Errorf("found %d", len(found))
			}
			if found := plugins.lookup(t.Context(), &v1.Pod{}, "reg.other/a"); len(found) > 0 || len(ran) != 2 {
				t.Errorf("the plugin is not meant for it: %d", len(ran))
			}
		})
	}
	if _, err := NewPlugins(PluginOptions{Providers: []kubeletv1.CredentialProvider{{Name: "none"}}, Dir: dir}); err == nil {
		t.Error("a missing program is an error")
	}
}

// A counting plugin answers without a program.
type counting struct {
	*plugin
	runs int
	say  protocol.CredentialProviderResponse
	last protocol.CredentialProviderRequest
}

func newCounting(say protocol.CredentialProviderResponse, token *kubeletv1.ServiceAccountTokenAttributes, api Accounts) *counting {
	c := &counting{say: say}
	c.plugin = newPlugin(kubeletv1.CredentialProvider{
		Name: "c", MatchImages: []string{"*.test"}, DefaultCacheDuration: &metav1.Duration{Duration: time.Minute}, TokenAttributes: token,
	}, "", PluginOptions{Accounts: api})
	c.run = func(_ context.Context, r protocol.CredentialProviderRequest) (*protocol.CredentialProviderResponse, error) {
		c.runs++
		c.last = r
		time.Sleep(time.Second)
		return &c.say, nil
	}
	return c
}

func (c *counting) ask(t *testing.T, p *v1.Pod, image string) Origin {
	t.Helper()
	_, from, err := c.provide(t.Context(), p, image)
	if err != nil {
		t.Error(err)
	}
	return from
}

func TestCache(t *testing.T) {
	for _, c := range []struct {
		kind  protocol.PluginCacheKeyType
		lasts *metav1.Duration
		runs  [3]int // the same image again, another of the registry, another registry
	}{
		{protocol.ImagePluginCacheKeyType, nil, [3]int{1, 2, 3}},
		{protocol.RegistryPluginCacheKeyType, nil, [3]int{1, 1, 2}},
		{protocol.GlobalPluginCacheKeyType, nil, [3]int{1, 1, 1}},
		{protocol.GlobalPluginCacheKeyType, &metav1.Duration{}, [3]int{2, 3, 4}},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newCounting(protocol.CredentialProviderResponse{CacheKeyType: c.kind, CacheDuration: c.lasts}, nil, nil)
			p.ask(t, &v1.Pod{}, "a.test/x")
			for i, image := range []string{"a.test/x", "a.test/y", "b.test/x"} {
				if p.ask(t, &v1.Pod{}, image); p.runs != c.runs[i] {
					t.Errorf("%s: %s: %d runs, want %d", c.kind, image, p.runs, c.runs[i])
				}
			}
			before := p.runs
			time.Sleep(2 * time.Minute)
			if p.ask(t, &v1.Pod{}, "a.test/x"); p.runs != before+1 {
				t.Errorf("%s: it holds for ever", c.kind)
			}
		})
	}
}

// Who asks the same at the same time shares the answer.
func TestOneRunForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newCounting(protocol.CredentialProviderResponse{CacheKeyType: protocol.ImagePluginCacheKeyType}, nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, _, err := p.provide(ctx, &v1.Pod{}, "a.test/x"); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		for range 3 {
			all.Go(func() { p.ask(t, &v1.Pod{}, "a.test/x") })
		}
		synctest.Wait()
		cancel()
		all.Wait()
		if p.runs != 1 {
			t.Errorf("%d runs", p.runs)
		}
	})
}

// An api has one service account and numbers its tokens.
type api struct {
	annotations map[string]string
	tokens      int
	last        *authenticationv1.TokenRequest
}

func (a *api) ServiceAccount(_ context.Context, namespace, name string) (*v1.ServiceAccount, error) {
	return &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "uid-" + "x", Annotations: a.annotations}}, nil
}

func (a *api) Token(_ context.Context, _, _ string, r *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	a.tokens++
	a.last = r
	return &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{
		Token: fmt.Sprintf("token-%d", a.tokens), ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour)),
	}}, nil
}

func podOf(name, account string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: "pod-uid"}, Spec: v1.PodSpec{ServiceAccountName: account}}
}

// Plugins may be shown a token of the pod's service account (KEP-4412).
func TestServiceAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		yes := true
		want := &kubeletv1.ServiceAccountTokenAttributes{
			ServiceAccountTokenAudience: "reg", CacheType: kubeletv1.ServiceAccountServiceAccountTokenCacheType, RequireServiceAccount: &yes,
			RequiredServiceAccountAnnotationKeys: []string{"role"}, OptionalServiceAccountAnnotationKeys: []string{"extra", "none"},
		}
		server := &api{annotations: map[string]string{"role": "r", "extra": "e", "more": "m"}}
		p := newCounting(protocol.CredentialProviderResponse{CacheKeyType: protocol.GlobalPluginCacheKeyType}, want, server)
		if from := p.ask(t, podOf("one", "sa"), "a.test/x"); from != (Origin{ServiceAccount, "uid-x", "ns", "sa"}) {
			t.Errorf("from %+v", from)
		}
		if p.last.ServiceAccountToken != "token-1" || fmt.Sprint(p.last.ServiceAccountAnnotations) != "map[extra:e role:r]" {
			t.Errorf("asked %+v", p.last)
		}
		if s := server.last; s.UID != "uid-x" || s.Spec.Audiences[0] != "reg" || s.Spec.BoundObjectRef.Name != "one" || s.Spec.BoundObjectRef.UID != "pod-uid" {
			t.Errorf("token for %+v", s)
		}
		if p.ask(t, podOf("two", "sa"), "a.test/x"); p.runs != 1 {
			t.Error("the answer is for the account")
		}
		if p.ask(t, podOf("two", "other"), "a.test/x"); p.runs != 2 {
			t.Error("the answer is for the account alone")
		}
		if _, _, err := p.provide(t.Context(), podOf("three", ""), "a.test/x"); !errors.Is(err, errNotMeant) {
			t.Errorf("a pod without account: %v", err)
		}
		server.annotations = nil
		if _, _, err := p.provide(t.Context(), podOf("one", "sa"), "a.test/x"); !errors.Is(err, errNotMeant) {
			t.Errorf("an account that has not opted in: %v", err)
		}
	})
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		no := false
		want := &kubeletv1.ServiceAccountTokenAttributes{
			ServiceAccountTokenAudience: "reg", CacheType: kubeletv1.TokenServiceAccountTokenCacheType, RequireServiceAccount: &no,
		}
		server := &api{}
		echo := protocol.CredentialProviderResponse{
			CacheKeyType: protocol.GlobalPluginCacheKeyType, CacheDuration: &metav1.Duration{Duration: 24 * time.Hour},
			Auth: map[string]protocol.AuthConfig{"a.test": {Password: "token-1"}},
		}
		p := newCounting(echo, want, server)
		p.ask(t, podOf("one", "sa"), "a.test/x")
		if p.ask(t, podOf("one", "sa"), "a.test/x"); p.runs != 1 || server.tokens != 1 {
			t.Errorf("%d runs, %d tokens", p.runs, server.tokens)
		}
		time.Sleep(50 * time.Minute)
		if p.ask(t, podOf("one", "sa"), "a.test/x"); p.runs != 2 || server.tokens != 2 {
			t.Errorf("what was said for a token goes with it: %d runs, %d tokens", p.runs, server.tokens)
		}
		if from := p.ask(t, podOf("one", ""), "a.test/x"); from.Kind != Node || p.last.ServiceAccountToken != "" {
			t.Errorf("a pod without account: %+v", from)
		}
		want.CacheType = kubeletv1.ServiceAccountServiceAccountTokenCacheType
		strict := newCounting(echo, want, &api{})
		if _, _, err := strict.provide(t.Context(), podOf("one", "sa"), "a.test/x"); err == nil || strings.Contains(err.Error(), "token-1") {
			t.Errorf("an echo: %v", err)
		}
	})
}

func TestReadConfig(t *testing.T) {
	const good = `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- {name: %s, apiVersion: credentialprovider.kubelet.k8s.io/v1, matchImages: ["*.test"], defaultCacheDuration: 1m%s}
`
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // names of the providers
		fails string
	}{
		{"a directory in order", map[string]string{"b.yaml": fmt.Sprintf(good, "b", ""), "a.yml": fmt.Sprintf(good, "a", ""), "c.txt": "x"}, "ab", ""},
		{"twice the same", map[string]string{"b.yaml": fmt.Sprintf(good, "b", ""), "a.yml": fmt.Sprintf(good, "b", "")}, "", "duplicate name"},
		{"none", map[string]string{"c.txt": "x"}, "", "no configuration"},
		{"no providers", map[string]string{"a.yaml": "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\n"}, "", "at least one"},
		{"another kind", map[string]string{"a.yaml": "apiVersion: v1\nkind: Pod\n"}, "", "is not a CredentialProviderConfig"},
		{"unknown field", map[string]string{"a.yaml": fmt.Sprintf(good, "a", ", more: 1")}, "", "unknown field"},
		{"name of a path", map[string]string{"a.yaml": fmt.Sprintf(good, "a/b", "")}, "", "name:"},
		{"half a token", map[string]string{"a.yaml": fmt.Sprintf(good, "a", ", tokenAttributes: {cacheType: x, optionalServiceAccountAnnotationKeys: [a, a, '/']}")}, "", "cacheType"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			providers, hash, err := ReadConfig(dir)
			var names []string
			for _, p := range providers {
				names = append(names, p.Name)
			}
			got := strings.Join(names, "")
			if got != c.want || (err == nil) != strings.HasPrefix(hash, "sha256:") {
				t.Errorf("%q, hash %q", got, hash)
			}
			if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("error %v, want %q", err, c.fails)
			}
		})
	}
}
