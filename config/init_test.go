package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// testHost is the host of all tests: two addresses of each family on one
// interface, loopback, and the bridge that an earlier run left.
func testHost() Host {
	h := Host{Name: "Node-1", Default: []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")}}
	for _, p := range []string{"127.0.0.1/8", "::1/128", "192.0.2.10/24", "198.51.100.7/24", "2001:db8::10/64", "10.244.0.1/24"} {
		h.Prefixes = append(h.Prefixes, netip.MustParsePrefix(p))
	}
	return h
}

// TestLoadInit runs the cases in testdata/init: each is a configuration, flags
// or both, and what comes of it.
func TestLoadInit(t *testing.T) {
	cases, err := filepath.Glob("testdata/init/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			o := InitOptions{Host: testHost()}
			var want *txtar.File
			for n, f := range ar.Files {
				switch f.Name {
				case "flags.json":
					if err := json.Unmarshal(f.Data, &o.Flags); err != nil {
						t.Fatal(err)
					}
				case "want":
					want = &ar.Files[n]
				default:
					o.Path, o.Data = f.Name, f.Data
				}
			}
			got := show(LoadInit(o))
			if *update {
				if want == nil {
					ar.Files = append(ar.Files, txtar.File{Name: "want"})
					want = &ar.Files[len(ar.Files)-1]
				}
				want.Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want.Data), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// show prints a result for the golden files. A generated token is hidden: it
// is another one each time.
func show(i *Init, err error) string {
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	if i.TokenGenerated {
		i.Init.BootstrapTokens[0].Token = "generated"
	}
	var b strings.Builder
	for _, w := range i.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	if i.UploadCerts {
		b.WriteString("upload certs\n")
	}
	for _, doc := range []any{i.Init, i.Cluster, i.Boot, i.Kubelet, i.KubeProxy} {
		data, err := yaml.Marshal(doc)
		if err != nil {
			return err.Error()
		}
		b.WriteString("---\n")
		b.Write(brief(data))
	}
	return b.String()
}

// brief leaves out what the component documents hold for fields nobody set.
func brief(data []byte) []byte {
	var m map[string]any
	if err := yaml.Unmarshal(data, &m); err != nil {
		return data
	}
	prune(m)
	out, err := yaml.Marshal(m)
	if err != nil {
		return data
	}
	return out
}

func prune(m map[string]any) {
	for k, v := range m {
		switch v := v.(type) {
		case map[string]any:
			if prune(v); len(v) == 0 {
				delete(m, k)
			}
		case nil:
			delete(m, k)
		case string:
			if v == "" || v == "0s" || v == "0" {
				delete(m, k)
			}
		case float64:
			if v == 0 {
				delete(m, k)
			}
		}
	}
}

func TestLoadInitGeneratesAToken(t *testing.T) {
	one, err := LoadInit(InitOptions{Host: testHost()})
	if err != nil {
		t.Fatal(err)
	}
	two, err := LoadInit(InitOptions{Host: testHost()})
	if err != nil {
		t.Fatal(err)
	}
	a, b := one.Init.BootstrapTokens[0].Token.Reveal(), two.Init.BootstrapTokens[0].Token.Reveal()
	if len(a) != 23 || a == b {
		t.Errorf("tokens of %d and %d characters, equal: %t", len(a), len(b), a == b)
	}
}

func TestLoadInitReadsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.yaml")
	write(t, path, "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nclusterName: mine\n")
	i, err := LoadInit(InitOptions{Path: path, Host: testHost()})
	if err != nil || i.Cluster.ClusterName != "mine" {
		t.Fatalf("%+v, %v", i, err)
	}
	if _, err := LoadInit(InitOptions{Path: path + ".missing"}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("error %v; want one about the missing file", err)
	}
	write(t, path, "clusterName: [\n")
	_, err = LoadInit(InitOptions{Path: path, Host: testHost()})
	var bad *Error
	if !errors.As(err, &bad) || bad.Source != path || len(bad.Findings) != 1 {
		t.Fatalf("error %v; want one finding in %s", err, path)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	i, err := LoadInit(InitOptions{Host: testHost(), Flags: InitFlags{Token: "abcdef.0123456789abcdef"}})
	if err != nil {
		t.Fatal(err)
	}
	i.Init.CertificateKey = "c0ffee"
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		out := fmt.Sprintf(verb, i.Init) + fmt.Sprintf(verb, i.Init.CertificateKey)
		for _, secret := range []string{"0123456789abcdef", "c0ffee", "633066666565"} {
			if strings.Contains(out, secret) {
				t.Errorf("%s shows %s", verb, secret)
			}
		}
	}
	if got := i.Init.BootstrapTokens[0].Token.String(); got != "[redacted]" {
		t.Errorf("String() = %q", got)
	}
	if got := i.Init.CertificateKey.LogValue().String(); got != "[redacted]" {
		t.Errorf("LogValue() = %q", got)
	}
	if got := Secret("").String(); got != "" {
		t.Errorf("an empty secret prints as %q", got)
	}
}

func TestWrongTokenIsNotQuoted(t *testing.T) {
	for _, token := range []string{`"hunter2"`, "hunter2: x", "[hunter2]"} {
		data := "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens:\n- token: " + token + "\n"
		_, err := LoadInit(InitOptions{Path: "f", Data: []byte(data), Host: testHost()})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", token, err)
		}
	}
}
