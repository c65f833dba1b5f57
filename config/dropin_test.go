package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

const kubeletHead = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

// dropInDir makes a directory of files, each without its head.
func dropInDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(kubeletHead+text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDropIns(t *testing.T) {
	const base = "maxPods: 50\nclusterDNS: [192.0.2.1, 192.0.2.2]\nsystemReserved: {cpu: \"1\", memory: 1Gi}\nnodeStatusUpdateFrequency: 1m\n"
	tests := []struct {
		name  string
		files map[string]string
		want  func(*kubeletv1beta1.KubeletConfiguration) // changes what the file alone makes
	}{
		{name: "none", files: map[string]string{"README": "maxPods: 1\n", "10.conf.bak": "maxPods: 2\n"}},
		{
			name: "the last one counts", files: map[string]string{"20.conf": "maxPods: 20\n", "10.conf": "maxPods: 10\nport: 1234\n"},
			want: func(k *kubeletv1beta1.KubeletConfiguration) { k.MaxPods, k.Port = 20, 1234 },
		},
		{
			name: "subdirectories in the order of paths", files: map[string]string{"10/99.conf": "maxPods: 10\n", "20.conf": "maxPods: 20\n", "05/a/b.conf": "maxPods: 5\n"},
			want: func(k *kubeletv1beta1.KubeletConfiguration) { k.MaxPods = 20 },
		},
		{
			name: "lists are replaced", files: map[string]string{"10.conf": "clusterDNS: [192.0.2.9]\n"},
			want: func(k *kubeletv1beta1.KubeletConfiguration) { k.ClusterDNS = []string{"192.0.2.9"} },
		},
		{
			name: "maps are merged", files: map[string]string{"10.conf": "systemReserved: {memory: 2Gi, pid: \"100\"}\n"},
			want: func(k *kubeletv1beta1.KubeletConfiguration) {
				k.SystemReserved = map[string]string{"cpu": "1", "memory": "2Gi", "pid": "100"}
			},
		},
		{
			name: "objects are merged", files: map[string]string{"10.conf": "authentication: {anonymous: {enabled: true}}\n", "20.conf": "authentication: {webhook: {cacheTTL: 1s}}\n"},
			want: func(k *kubeletv1beta1.KubeletConfiguration) {
				k.Authentication.Anonymous.Enabled = new(true)
				k.Authentication.Webhook.CacheTTL.Duration = 1e9
			},
		},
		{
			name: "null brings defaults back", files: map[string]string{"10.conf": "maxPods: null\nsystemReserved: {cpu: null}\n"},
			want: func(k *kubeletv1beta1.KubeletConfiguration) {
				k.MaxPods, k.SystemReserved = 110, map[string]string{"memory": "1Gi"}
			},
		},
		{
			name: "thresholds keep their defaults", files: map[string]string{"10.conf": "evictionHard: {memory.available: 5%}\n"},
			want: func(k *kubeletv1beta1.KubeletConfiguration) { k.EvictionHard["memory.available"] = "5%" },
		},
		{
			// Upstream fills in what depends on other fields before it merges.
			name: "defaults are the file's", files: map[string]string{"10.conf": "nodeStatusUpdateFrequency: 20s\n"},
			want: func(k *kubeletv1beta1.KubeletConfiguration) { k.NodeStatusUpdateFrequency.Duration = 20e9 },
		},
		{
			name: "off is not the default", files: map[string]string{"10.conf": "cpuCFSQuota: false\nimageGCHighThresholdPercent: 100\nmaxPods: 0\n"},
			want: func(k *kubeletv1beta1.KubeletConfiguration) {
				k.CPUCFSQuota, k.ImageGCHighThresholdPercent, k.MaxPods = new(false), new(int32(100)), 110
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			load := func(dropIns string) kubeletv1beta1.KubeletConfiguration {
				l, err := LoadKubelet(LoopOptions{Path: "kubelet.yaml", Data: []byte(kubeletHead + base), DropIns: dropIns})
				if err != nil {
					t.Fatal(err)
				}
				return l.Kubelet
			}
			want := load("")
			want.EvictionHard = map[string]string{
				"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%",
				"imagefs.available": "15%", "imagefs.inodesFree": "5%",
			}
			if tt.want != nil {
				tt.want(&want)
			}
			if diff := cmp.Diff(want, load(dropInDir(t, tt.files))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A node may have drop-ins and nothing else, and reach them by a link.
func TestDropInsAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dropInDir(t, map[string]string{"10.conf": "maxPods: 7\n"}), dir); err != nil {
		t.Fatal(err)
	}
	l, err := LoadKubelet(LoopOptions{DropIns: dir})
	if err != nil {
		t.Fatal(err)
	}
	if l.Kubelet.MaxPods != 7 || l.Kubelet.Port != 10250 || l.Boot.ImagesDir == "" {
		t.Errorf("%+v", l)
	}
}

func TestDropInsAreWarnedOf(t *testing.T) {
	dir := dropInDir(t, map[string]string{"10.conf": "runOnce: true\n"})
	l, err := LoadKubelet(LoopOptions{Path: "k", Data: []byte(kubeletHead + "contentType: x\n"), DropIns: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"line 3: KubeletConfiguration: contentType is not honoured",
		dir + "/10.conf: line 3: KubeletConfiguration: runOnce is not honoured",
	}
	if diff := cmp.Diff(want, l.Warnings); diff != "" {
		t.Error(diff)
	}
}

func TestDropInsThatAreWrong(t *testing.T) {
	const only = "a drop-in is one KubeletConfiguration and nothing else; " +
		"begin it with apiVersion: kubelet.config.k8s.io/v1beta1 and kind: KubeletConfiguration"
	tests := []struct{ name, base, file, err string }{
		{name: "unknown field", file: kubeletHead + "maxpods: 1\n", err: `read DIR/10.conf: document 1 (KubeletConfiguration), line 3, column 1: maxpods: unknown field; did you mean "maxPods"?`},
		{name: "type", file: kubeletHead + "maxPods: many\n", err: `read DIR/10.conf: document 1 (KubeletConfiguration), line 3, column 10: maxPods: expected a whole number of 32 bits, found a string`},
		{name: "value", file: kubeletHead + "port: -1\n", err: `read kubelet.yaml: DIR/10.conf, document 1 (KubeletConfiguration), line 3, column 7: port: -1 is not a port; ports go from 1 to 65535`},
		{
			name: "value of the file", base: "port: -1\n", file: kubeletHead + "maxPods: 1\n",
			err: `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 7: port: -1 is not a port; ports go from 1 to 65535`,
		},
		{
			name: "what does not go together", base: "evictionSoft: {memory.available: 5%}\nevictionSoftGracePeriod: {memory.available: 1m}\n",
			file: kubeletHead + "evictionSoftGracePeriod: null\n",
			err:  `read kubelet.yaml: document 1 (KubeletConfiguration), line 3, column 34: evictionSoft.memory.available: it has no grace period; give it one in evictionSoftGracePeriod`,
		},
		{name: "empty", err: "read DIR/10.conf: " + only},
		{name: "comment", file: "# nothing\n", err: "read DIR/10.conf: " + only},
		{name: "no head", file: "maxPods: 1\n", err: "read DIR/10.conf: document 1, line 1, column 1: the document has no apiVersion or no kind; boot reads " + supported()},
		{name: "of another kind", file: "apiVersion: boot.internal/v1\nkind: BootConfiguration\n", err: "read DIR/10.conf: " + only},
		{name: "beside another kind", file: kubeletHead + "---\napiVersion: boot.internal/v1\nkind: BootConfiguration\n", err: "read DIR/10.conf: " + only},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "10.conf"), []byte(tt.file), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := LoadKubelet(LoopOptions{Path: "kubelet.yaml", Data: []byte(kubeletHead + tt.base), DropIns: dir})
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.err, strings.ReplaceAll(err.Error(), dir, "DIR")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDropInsThatAreMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := LoadKubelet(LoopOptions{DropIns: dir}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v", err)
	}
}
