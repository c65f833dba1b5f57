package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// text is an item that holds a text.
func text(name, content string) Item {
	return Item{name, func(_ context.Context, to io.Writer) error {
		_, err := io.WriteString(to, content)
		return err
	}}
}

// unpack packs and reads the archive again.
func unpack(t *testing.T, o Options) map[string]string {
	t.Helper()
	var archive bytes.Buffer
	o.Dir = "d"
	if _, err := Pack(t.Context(), &archive, o); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(&archive)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "d/")] = string(data)
	}
}

func newKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// Whatever is secret is in no file of the archive, wherever it was planted.
func TestNoSecretIsPacked(t *testing.T) {
	key := newKey(t)
	body := strings.Split(key, "\n")[1]
	jwt := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"
	planted := map[string]string{
		"manifest.yaml": "spec:\n  containers:\n  - name: c\n    args: [--token=flagtoken77, --db-password, spacepass88]\n    env:\n    - name: DB_PASSWORD\n      value: planted-env-1\n" +
			"    - name: AWS_SECRET_ACCESS_KEY\n      value: \"planted-env-2\"\n    - name: SHORT_PW_TOKEN\n      value: abc9\n",
		"pods.json":       `{"items":[{"env":[{"name":"API_KEY","value":"planted-json-1"},{"name":"REDIS_AUTH","value":"pl\"anted-json-2"}]}]}`,
		"pretty.json":     "{\n \"env\": [\n  {\n   \"name\": \"SESSION_SECRET\",\n   \"value\": \"planted-json-3\"\n  }\n ]\n}\n",
		"log.txt":         "connecting with planted-env-1 to https://admin:planted-url-1@db:5432\nAuthorization: Bearer planted.bearer.token.1\nsaw " + b64("planted-env-1") + "\nlevel=WARN password=planted-log-1 token: 'planted-log-2'\n",
		"key.txt":         "before\n" + key + "after\n",
		"cutkey.txt":      strings.Join(strings.Split(key, "\n")[:3], "\n"),
		"jsonkey.json":    `{"pem":"` + strings.ReplaceAll(key, "\n", `\n`) + `"}`,
		"kubeconfig.yaml": "users:\n- user:\n    client-key-data: " + b64(key) + "\n    token: planted-kubeconfig-1\n",
		"encoded.txt":     "something=" + b64(key),
		"tokens.txt":      "kubeadm join --token abcdef.0123456789abcdef --certificate-key planted-flag-1 x\n" + jwt + "\n",
		"secret.yaml":     "kind: Secret\nstringData: {one: planted-secret-1}\ndata:\n  two: " + b64("planted-secret-2") + "\n",
		"docker.json":     `{"auths":{"r.example":{"auth":"cGxhbnRlZDpkb2NrZXI=","password":"planted-docker-1"}}}`,
		"toml.txt":        "[auth]\n  password = \"planted-toml-1\"\n  identitytoken = 'planted-toml-2'\n",
		"later.txt":       "learned-elsewhere-1 planted-secret-2 planted-json-1",
	}
	var items []Item
	for name, content := range planted {
		items = append(items, text(name, content))
	}
	items = append(items, Item{"fails.txt", func(context.Context, io.Writer) error { return errors.New("dial with planted-env-1") }})
	files := unpack(t, Options{Items: items, Learn: [][]byte{[]byte("users: [{user: {password: learned-elsewhere-1}}]")}})
	if len(files) != len(planted)+1 {
		t.Errorf("%d files are packed", len(files))
	}
	secrets := []string{
		"planted-", "pl\\\"anted-", "learned-elsewhere", "flagtoken77", "spacepass88", "abc9", "planted.bearer", "0123456789abcdef",
		body, b64(key)[40:80], jwt, "c2lnbmF0dXJl", b64("planted-env-1"), b64("planted-secret-2"), "cGxhbnRlZDpkb2NrZXI",
	}
	for name, content := range files {
		for _, secret := range secrets {
			if strings.Contains(content, secret) {
				t.Errorf("%s has %q:\n%s", name, secret, content)
			}
		}
	}
	for name, want := range map[string]string{"key.txt": "before\nREDACTED\nafter\n", "log.txt": "https://REDACTED@db:5432"} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s: %s", name, files[name])
		}
	}
}

// What is no secret helps, and stays.
func TestTheRestStays(t *testing.T) {
	content := `    - --service-account-signing-key-file=/etc/kubernetes/pki/sa.key
    - --tls-private-key-file=/etc/kubernetes/pki/apiserver.key
    - --enable-bootstrap-token-auth=true
    - --client-cert-auth=true
    - --authorization-mode=Node,RBAC
    image: registry.k8s.io/etcd@sha256:5b1f9bb5a2bb0c2e7f9a3c9b4d3a36b3d2a9d7ad7ffad2ab2c8a2ce9f4c6d3a1
  automountServiceAccountToken: false
  volumes:
  - name: token
    projected:
      sources:
      - serviceAccountToken: {expirationSeconds: 3607, path: token}
  - secret:
      secretName: web-tls
-----BEGIN CERTIFICATE-----
MIIB
-----END CERTIFICATE-----
time=2026-05-01T12:00:00Z level=WARN msg=event pod=kube-system/etcd-cp1 reason=BackOff
https://127.0.0.1:7443/readyz 10.77.0.2:6443
authentication: {anonymous: {enabled: false}}
`
	files := unpack(t, Options{Items: []Item{text("a.yaml", content)}})
	if files["a.yaml"] != content {
		t.Errorf("it became:\n%s", files["a.yaml"])
	}
}

// What does not answer, or has too much to say, is noted and keeps nobody.
func TestItemsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // nobody is late who is only slow
		hangs := make(chan struct{})
		defer close(hangs)
		checkBounded(t, unpack(t, Options{Items: []Item{
			text("fine.txt", "fine"),
			{"hangs.txt", func(_ context.Context, to io.Writer) error {
				_, _ = io.WriteString(to, "so far")
				<-hangs
				return nil
			}},
			{"large.txt", func(_ context.Context, to io.Writer) error {
				for {
					if _, err := to.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
						return err
					}
				}
			}},
			{"broken.txt", func(context.Context, io.Writer) error { return errors.New("permission denied") }},
			Command("none.txt", "no-such-program-here"),
			Command("said.txt", "echo", "said"),
		}}))
	})
}

func checkBounded(t *testing.T, files map[string]string) {
	t.Helper()
	if files["fine.txt"] != "fine" || files["hangs.txt"] != "so far" || len(files["large.txt"]) != itemSize || files["said.txt"] != "said\n" {
		t.Errorf("%v", slices.Collect(maps.Keys(files)))
	}
	var list []Collected
	if err := json.Unmarshal([]byte(files["collected.json"]), &list); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"hangs.txt": "no end within 10s", "broken.txt": "permission denied", "none.txt": "this host has no"}
	for _, c := range list {
		if c.Error == "" != (want[c.Name] == "") || !strings.Contains(c.Error, want[c.Name]) || c.Cut != (c.Name == "large.txt") {
			t.Errorf("%+v", c)
		}
	}
}

func TestFileIsItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(path, append(bytes.Repeat([]byte("old\n"), logSize/4), "the end\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	items := Files("logs", filepath.Dir(path)+"/*", 5)
	got := unpack(t, Options{Items: items})["logs/x.log"]
	if !strings.HasPrefix(got, "[what comes before is left out]\n") || !strings.HasSuffix(got, "the end\n") || len(got) > logSize+100 {
		t.Errorf("%d bytes: %.80s", len(got), got)
	}
}
