package manifest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"boot.internal/kubelet/pod"
)

var update = flag.Bool("update", false, "write the expected output of testdata anew")

// origin is that of all test documents. Its time has trailing zeros.
func origin() Origin {
	return Origin{
		Node: "node-1", Source: pod.SourceFile, Place: "file:/m/a.yaml",
		Seen: time.Date(2026, 1, 2, 3, 4, 5, 120_000_000, time.UTC),
	}
}

// TestDocuments runs the cases of testdata/*.txt: a title, a document, a line
// of dashes, and what comes of it.
func TestDocuments(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		describe := outcome
		if strings.HasSuffix(path, "defaults.txt") {
			describe = written
		}
		var out []string
		for block := range strings.SplitSeq(string(data), "\n====\n") {
			title, rest, _ := strings.Cut(block, "\n")
			doc, want, _ := strings.Cut(rest+"\n", "\n----\n")
			got := describe(doc)
			out = append(out, title+"\n"+doc+"\n----\n"+got)
			if *update {
				continue
			}
			t.Run(title, func(t *testing.T) {
				if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(got)); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		}
		if *update {
			if err := os.WriteFile(path, []byte(strings.Join(out, "\n====\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// outcome describes what was found wrong about a document.
func outcome(doc string) string {
	_, issues, err := Pod([]byte(doc), origin())
	verdict := "runs"
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		verdict, issues = "refused", refused.Issues
	case err != nil:
		verdict = err.Error()
	}
	lines := []string{verdict}
	for _, i := range issues {
		line := fmt.Sprintf("%d %s", i.Line, i)
		if i.Hint != "" {
			line += " (" + i.Hint + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// written returns the pod made of a document.
func written(doc string) string {
	p, _, err := Pod([]byte(doc), origin())
	if err != nil {
		return err.Error()
	}
	data, err := yaml.Marshal(p)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data))
}

func parsed(t *testing.T, doc string, o Origin) *v1.Pod {
	t.Helper()
	p, _, err := Pod([]byte(doc), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const plain = `apiVersion: v1
kind: Pod
metadata:
  name: etcd
spec:
  containers:
  - {name: etcd, image: etcd:3}
`

func TestIdentity(t *testing.T) {
	base := parsed(t, plain, origin())
	t.Run("SP-16 SP-21 what does not change the UID", func(t *testing.T) {
		for _, doc := range []string{
			"# comment\n" + plain,
			strings.Replace(plain, "apiVersion: v1\nkind: Pod\n", "kind: Pod\napiVersion: v1\n", 1),
			`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"etcd"},"spec":{"containers":[{"image":"etcd:3","name":"etcd"}]}}`,
			"---\n" + plain + "---\n# nothing more\n",
			"\ufeff" + plain,
		} {
			if got := parsed(t, doc, origin()); got.UID != base.UID {
				t.Errorf("UID %s, want %s, for\n%s", got.UID, base.UID, doc)
			}
		}
	})
	t.Run("SP-21 what does", func(t *testing.T) {
		node, place := origin(), origin()
		node.Node, place.Place = "node-2", "file:/m/b.yaml"
		for what, p := range map[string]*v1.Pod{
			"content": parsed(t, strings.Replace(plain, "etcd:3", "etcd:4", 1), origin()),
			"node":    parsed(t, plain, node),
			"SP-17":   parsed(t, plain, place),
		} {
			if p.UID == base.UID {
				t.Errorf("%s: the same UID", what)
			}
		}
	})
	t.Run("SP-21 golden: no version of boot may change it", func(t *testing.T) {
		if want := "aaf602698809b06a9352cfad9ac5d565"; string(base.UID) != want {
			t.Errorf("UID %s, want %s", base.UID, want)
		}
	})
	t.Run("SP-22 SP-40 a given UID is kept, and the hash is that of the document", func(t *testing.T) {
		given := strings.Replace(plain, "metadata:\n", "metadata:\n  uid: mine\n", 1)
		one := parsed(t, given, origin())
		two := parsed(t, strings.Replace(given, "etcd:3", "etcd:4", 1), origin())
		if one.UID != "mine" || two.UID != "mine" {
			t.Errorf("UIDs %s, %s", one.UID, two.UID)
		}
		if h := one.Annotations[pod.ConfigHash]; h == "mine" || h == two.Annotations[pod.ConfigHash] {
			t.Errorf("hashes %s, %s", h, two.Annotations[pod.ConfigHash])
		}
	})
	t.Run("SP-24 seen has nine digits", func(t *testing.T) {
		if got := base.Annotations[pod.ConfigSeen]; got != "2026-01-02T03:04:05.120000000Z" {
			t.Errorf("seen %s", got)
		}
	})
}

func TestPods(t *testing.T) {
	o := origin()
	o.Source, o.Place = pod.SourceHTTP, "url:http://x"
	list := `{"kind":"PodList","apiVersion":"v1","items":[
  {"metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i"}]}},
  {"metadata":{"name":"b"},"spec":{"containers":[{"name":"c"}]}}]}`
	t.Run("SP-61 one bad item rejects all", func(t *testing.T) {
		pods, _, err := Pods([]byte(list), o)
		if pods != nil || err == nil || err.Error() != "line 3: spec.containers[0].image: Required value" {
			t.Errorf("pods %v, error %v", pods, err)
		}
	})
	t.Run("SP-8 SP-61 a list is fine here", func(t *testing.T) {
		pods, _, err := Pods([]byte(strings.Replace(list, `"name":"c"}`, `"name":"c","image":"i"}`, 1)), o)
		if err != nil || len(pods) != 2 || pods[1].Name != "b-node-1" {
			t.Errorf("pods %v, error %v", pods, err)
		}
	})
	for name, doc := range map[string]string{
		"items is no list": `{"kind":"List","apiVersion":"v1","items":3}`,
		"other kinds":      `{"kind":"List","apiVersion":"v1","items":[{"kind":"Service","apiVersion":"v1"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := Pods([]byte(doc), o); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestLines(t *testing.T) {
	d, err := read([]byte("---\na:\n  b:\n  - c: 1\n    d.e/f: 2\n  - &x\n    c: 3\n  - *x\n"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"": 2, "a": 2, "a.b": 3, "a.b[0]": 4, "a.b[0].c": 4, "a.b[0][d.e/f]": 5, "a.b[1].c": 7,
		"a.b[2].c": 7, "a.b[0].missing": 4, "a.b[9]": 3, "missing.too": 2,
	} {
		if got := d.line(path); got != want {
			t.Errorf("line of %q is %d, want %d", path, got, want)
		}
	}
}

// FuzzPod holds that no document makes the reader panic, and that what it lets
// through is a static pod in every respect.
func FuzzPod(f *testing.F) {
	for _, path := range []string{"testdata/refused.txt", "testdata/defaults.txt"} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for block := range strings.SplitSeq(string(data), "\n====\n") {
			_, rest, _ := strings.Cut(block, "\n")
			doc, _, _ := strings.Cut(rest+"\n", "\n----\n")
			f.Add([]byte(doc))
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, _, err := Pod(doc, origin())
		if err != nil {
			return
		}
		if p.UID == "" || !pod.IsStatic(p) || pod.IsMirror(p) || p.Spec.NodeName != "node-1" || !strings.HasSuffix(p.Name, "-node-1") {
			t.Errorf("no static pod: %+v", p.ObjectMeta)
		}
	})
}
