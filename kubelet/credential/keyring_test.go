package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, image string
		want           bool
	}{
		{"reg.test", "reg.test/a", true},
		{"reg.test", "other.test/a", false},
		{"reg.test/team", "reg.test/team/a", true},
		{"reg.test/team", "reg.test/teammates/a", true}, // a prefix, as upstream has it
		{"reg.test/team", "reg.test/a", false},
		{"reg.test:5000", "reg.test:5000/a", true},
		{"reg.test:5000", "reg.test/a", false},
		{"reg.test", "reg.test:5000/a", false},
		{"*.reg.test", "x.reg.test/a", true},
		{"*.reg.test", "reg.test/a", false},
		{"*.test", "x.reg.test/a", false},
		{"app*.reg.*", "app7.reg.test/a", true},
		{"*.reg.test:5000/team", "x.reg.test:5000/team/a", true},
		{"[", "reg.test/a", false},
		{"reg.test", "", false},
	} {
		if got := matches(c.pattern, c.image); got != c.want {
			t.Errorf("matches(%q, %q) = %v", c.pattern, c.image, got)
		}
	}
}

func TestLookup(t *testing.T) {
	all := logins{}
	for _, registry := range []string{
		"reg.test", "reg.test/team", "https://v1.test/v1/", "http://v2.test/v2/team", "*.wild.test", "https://index.docker.io/v1/",
		"sub.wild.test", "bad host",
	} {
		all[registry] = Login{Username: registry}
	}
	k := keyring{}
	k.add(all, Origin{Kind: Node})
	for image, want := range map[string][]string{
		"reg.test/team/a":         {"reg.test/team", "reg.test"}, // the longer first
		"reg.test/a":              {"reg.test"},
		"v1.test/a":               {"https://v1.test/v1/"},
		"v2.test/team/a":          {"http://v2.test/v2/team"},
		"v2.test/a":               nil,
		"sub.wild.test/a":         {"sub.wild.test", "*.wild.test"},
		"docker.io/library/nginx": {"https://index.docker.io/v1/"},
		"nginx":                   {"https://index.docker.io/v1/"},
		"somebody/nginx":          {"https://index.docker.io/v1/"},
		"localhost:5000/a":        nil,
		"/a":                      nil,
	} {
		var got []string
		for _, c := range k.lookup(image) {
			got = append(got, c.Username)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", image, got, want)
		}
	}
}

func auth(plain string) string { return base64.StdEncoding.EncodeToString([]byte(plain)) }

func TestReadConfigJSON(t *testing.T) {
	for text, want := range map[string]*Login{
		`{"auths":{"r":{"username":"u","password":"p","email":"e"}}}`:                            {"u", "p", "e"},
		`{"auths":{"r":{"auth":"` + auth("u:p:q") + `"}}}`:                                       {"u", "p:q", ""},
		`{"auths":{"r":{"username":"x","auth":"` + auth("u:pp") + `","email":"e"}}}`:             {"u", "pp", "e"},
		`{"auths":{"r":{"auth":"` + base64.RawStdEncoding.EncodeToString([]byte("u:p")) + `"}}}`: {"u", "p", ""},
		`{"auths":{"r":{}},"HttpHeaders":{"a":"b"},"credsStore":"x"}`:                            {},
		`{"auths":{"r":{"auth":"` + auth("up") + `"}}}`:                                          nil,
		`{"auths":{"r":{"auth":"%"}}}`:                                                           nil,
		`{`:                                                                                      nil,
	} {
		got, err := readConfigJSON([]byte(text))
		switch {
		case want == nil && !errors.Is(err, errMalformed):
			t.Errorf("%s: error %v", text, err)
		case want != nil && (err != nil || got["r"] != *want):
			t.Errorf("%s: %v, error %v", text, got, err)
		}
	}
}

// The hash is the one upstream keeps in its records.
func TestHash(t *testing.T) {
	c := Credential{Login: Login{Username: "user", Password: "pass"}}
	if got, want := c.Hash(), sha256Hex(`{"username":"user","password":"pass"}`); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestFiles(t *testing.T) {
	root, home := t.TempDir(), t.TempDir()
	t.Chdir(t.TempDir())
	f := Files{Root: root, Home: home}
	user := func() string { return f.read()["reg.test"].Username }
	put := func(dir, name, user string) string {
		text := `{"reg.test":{"username":"` + user + `"}}`
		if name == "config.json" {
			text = `{"auths":` + text + `}`
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if got := user(); got != "" {
		t.Errorf("nothing is there: %q", got)
	}
	put(home, ".dockercfg", "old")
	if got := user(); got != "old" {
		t.Errorf("%q", got)
	}
	put(filepath.Join(home, ".docker"), "config.json", "home")
	if got := user(); got != "home" {
		t.Errorf("%q", got)
	}
	path := put(root, "config.json", "root")
	if got := user(); got != "root" {
		t.Errorf("%q", got)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := user(); got != "home" {
		t.Errorf("a broken file counts as none: %q", got)
	}
}

func TestSecrets(t *testing.T) {
	secrets := map[string]*v1.Secret{
		"json":  {Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: []byte(`{"auths":{"reg.test":{"username":"json"}}}`)}},
		"cfg":   {Type: v1.SecretTypeDockercfg, Data: map[string][]byte{v1.DockerConfigKey: []byte(`{"reg.test":{"username":"cfg"}}`)}},
		"other": {Type: v1.SecretTypeOpaque, Data: map[string][]byte{v1.DockerConfigKey: []byte(`{"reg.test":{"username":"other"}}`)}},
		"bad":   {Type: v1.SecretTypeDockercfg, Data: map[string][]byte{v1.DockerConfigKey: []byte(`[`)}},
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "config.json"), []byte(`{"auths":{"reg.test":{"username":"node"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	sources := New(Options{
		Secret: func(_ context.Context, namespace, name string) (*v1.Secret, error) {
			s, ok := secrets[name]
			if !ok {
				return nil, errors.New("not found")
			}
			s = s.DeepCopy()
			s.Namespace, s.Name, s.UID = namespace, name, "uid"
			return s, nil
		},
		Files: Files{Root: root}, Log: slog.New(slog.DiscardHandler),
	})
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}}
	for _, name := range []string{"cfg", "", "none", "json", "other", "bad"} {
		p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, v1.LocalObjectReference{Name: name})
	}
	found, missing := sources.For(t.Context(), p, "reg.test/a")
	var got []string
	for _, c := range found {
		got = append(got, c.Username)
	}
	if want := []string{"cfg", "json", "node"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if want := []string{"none", "bad"}; !slices.Equal(missing, want) {
		t.Errorf("missing %q, want %q", missing, want)
	}
	if want := (Origin{Secret, "uid", "ns", "cfg"}); found[0].From != want {
		t.Errorf("from %+v, want %+v", found[0].From, want)
	}
	if found[2].From.Kind != Node {
		t.Errorf("from %+v", found[2].From)
	}
}
