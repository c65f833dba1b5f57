package spec_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/spec"
)

var update = flag.Bool("update", false, "write what is into the text files, instead of comparing it")

// TestText runs the cases of the text files:
//
//	=== name, which may cite what it shows
//	sandbox FIELD…      or: container NAME FIELD…, or: hosts
//	pod, as YAML over a plain one
//	----
//	those fields of the message, or the error
func TestText(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no text files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cases := strings.Split("\n"+string(data), "\n=== ")
			var out strings.Builder
			out.WriteString(strings.TrimPrefix(cases[0], "\n"))
			for i, text := range cases[1:] {
				if out.Len() > 0 || i > 0 {
					out.WriteString("\n")
				}
				name, rest, _ := strings.Cut(text, "\n")
				input, want, _ := strings.Cut(rest, "----\n")
				t.Run(name, func(t *testing.T) {
					got := answer(t, input)
					fmt.Fprintf(&out, "=== %s\n%s----\n%s", name, input, got)
					if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(got)); diff != "" && !*update {
						t.Error(diff)
					}
				})
			}
			if *update {
				if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func answer(t *testing.T, input string) string {
	command, text, _ := strings.Cut(input, "\n")
	words := strings.Fields(command)
	p := parse(t, text)
	users := pod.IDRange{}
	if spec.WantsUsers(p) {
		users = pod.IDRange{First: 196608, Count: 65536}
	}
	switch words[0] {
	case "sandbox":
		m, err := spec.Sandbox(p, node(), spec.SandboxInput{
			Attempt: 2, LogDir: spec.LogDir("/var/log/pods", p), CgroupParent: "/kubepods/pod", Users: users,
			ResolvConf: []byte("# of the host\nnameserver 192.0.2.53\nnameserver 192.0.2.54\nsearch example.org. corp.example.org\noptions timeout:2 ndots:1\n"),
		})
		return show(t, m, err, words[1:])
	case "container":
		d, ok := pod.Find(p, words[1])
		if !ok {
			t.Fatalf("no container %s", words[1])
		}
		in := containerInput()
		in.Users = users
		in.RecursiveReadOnly = p.Spec.RuntimeClassName == nil
		subs, err := spec.SubPaths(p, d, node(), in)
		if err != nil {
			return show(t, nil, err, nil)
		}
		in.SubPaths = map[int]string{}
		for _, sub := range subs {
			in.SubPaths[sub.Index] = fmt.Sprintf("%s/%s (%d of %s)", sub.Volume.Path, sub.Path, sub.Index, sub.Container)
		}
		m, err := spec.Container(p, d, node(), in)
		return show(t, m, err, words[2:])
	case "hosts":
		data, err := spec.Hosts(p, node(), []string{"10.0.0.7", "fd00::7"}, []byte("127.0.0.1\tlocalhost\n192.0.2.10\tnode-1\n"))
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		if data == nil {
			return "none\n"
		}
		return string(data)
	}
	t.Fatalf("what is %q?", command)
	return ""
}

func node() spec.Node {
	return spec.Node{
		Name: "node-1", IPs: []string{"192.0.2.10", "2001:db8::10"},
		ClusterDNS: []string{"10.96.0.10"}, ClusterDomain: "cluster.local",
		Allocatable: v1.ResourceList{v1.ResourceCPU: resource.MustParse("3500m"), v1.ResourceMemory: resource.MustParse("8Gi")},
		Memory:      16 << 30, CPUPeriod: 100 * time.Millisecond, SeccompDir: "/var/lib/kubelet/seccomp",
	}
}

func containerInput() spec.ContainerInput {
	return spec.ContainerInput{
		Attempt: 3, Backoff: 20 * time.Second, Image: &cri.Image{Id: "sha256:1234", Username: "www"},
		Volumes: map[string]pod.Volume{
			"data": {Path: "/pods/u/volumes/data"}, "conf": {Path: "/etc/app"}, "forced": {Path: "/ro", ReadOnly: true},
			"disk": {Device: "/dev/sdx"}, "disk-ro": {Device: "/dev/sdy", ReadOnly: true},
			"image": {Image: "sha256:5678", ImageName: "data:1"},
		},
		PodIPs:         []string{"10.0.0.7", "fd00::7"},
		Services:       []v1.EnvVar{{Name: "KUBERNETES_SERVICE_HOST", Value: "10.96.0.1"}, {Name: "OWN", Value: "service's"}},
		ConfigMaps:     map[string]*v1.ConfigMap{"m": {Data: map[string]string{"one": "1", "t.w-o": "2", "url": "$(one)"}}},
		Secrets:        map[string]*v1.Secret{"s": {Data: map[string][]byte{"one": []byte("uno"), "pass": []byte("word")}}},
		EnvFiles:       map[spec.EnvFile][]byte{{Volume: "data", Path: "env"}: []byte("A='from file'\nE=''\n"), {Volume: "data", Path: "bad"}: []byte("A=1")},
		TargetID:       "",
		TerminationLog: "/pods/u/containers/c/3", Hosts: "/pods/u/etc-hosts",
	}
}

// parse reads a pod over a plain one.
func parse(t *testing.T, text string) *v1.Pod {
	t.Helper()
	p := &v1.Pod{}
	p.Name, p.Namespace, p.UID = "web", "shop", "u"
	p.Spec.NodeName, p.Spec.DNSPolicy = "node-1", v1.DNSClusterFirst
	if err := yaml.UnmarshalStrict([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// show writes the fields of a message as YAML, or what went wrong.
func show(t *testing.T, m proto.Message, err error, fields []string) string {
	t.Helper()
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	if c, ok := m.(*cri.ContainerConfig); ok && len(c.Envs) > 0 {
		var lines []string // as bytes they cannot be read
		for _, e := range c.Envs {
			lines = append(lines, e.Key+"="+string(e.Value))
		}
		all["envs"] = lines
	}
	out := map[string]any{}
	for _, f := range fields {
		out[f] = dig(all, f)
	}
	text, err := yaml.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// dig returns a value by its path.
func dig(v any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[part]
	}
	return v
}
