package templates

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"

	"boot.internal/config"
)

// The targets of patches that are not static pods.
const (
	targetKubelet = "kubeletconfiguration"
	targetCoreDNS = "corednsdeployment"
)

// patchTargets are the names a patch file can start with.
func patchTargets() []string {
	return []string{
		config.ComponentEtcd, config.ComponentAPIServer, config.ComponentControllerManager,
		config.ComponentScheduler, config.ComponentProxy, targetKubelet, targetCoreDNS,
	}
}

// Patches are the changes a user makes to what boot renders. The zero value
// changes nothing.
type Patches struct {
	patches []patch
	// Ignored names the files of the directory that are no patches, each with
	// the reason.
	Ignored []string
}

// A patch is one document of a patch file.
type patch struct {
	file, target string
	kind         patchKind
	data         []byte // JSON
}

type patchKind string

const (
	strategicPatch patchKind = "strategic"
	mergePatch     patchKind = "merge"
	jsonPatch      patchKind = "json"
)

// ReadPatches reads a directory of patches as kubeadm has them: files named
// "target[suffix][+patchtype].extension", of which the target is a component,
// "kubeletconfiguration" or "corednsdeployment", the patch type strategic,
// merge or json, and the extension yaml or json. They apply in the order of
// their names. An empty dir means no patches.
func ReadPatches(dir string) (Patches, error) {
	var p Patches
	if dir == "" {
		return p, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return p, fmt.Errorf("read patches: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err != nil {
			return p, fmt.Errorf("read patches: %w", err)
		} else if info.IsDir() {
			continue
		}
		target, kind, reason := parsePatchName(e.Name())
		if reason != "" {
			p.Ignored = append(p.Ignored, path+": "+reason)
			continue
		}
		if kind == "" {
			return p, fmt.Errorf("read patch %s: after %q comes strategic, merge or json", path, "+")
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return p, fmt.Errorf("read patch: %w", err)
		}
		docs, err := splitYAML(data)
		if err != nil {
			return p, fmt.Errorf("read patch %s: %w", path, err)
		}
		for _, doc := range docs {
			p.patches = append(p.patches, patch{file: path, target: target, kind: kind, data: doc})
		}
	}
	return p, nil
}

// parsePatchName returns what a file name says, or the reason to ignore it.
// The kind is empty if the name announces one that there is not.
func parsePatchName(name string) (target string, kind patchKind, ignored string) {
	if ext := filepath.Ext(name); ext != ".yaml" && ext != ".json" {
		return "", "", "the name does not end in .yaml or .json"
	}
	m := regexp.MustCompile(`^(` + strings.Join(patchTargets(), "|") + `)[^.+]*(\+(json|merge|strategic)?)?`).FindStringSubmatch(name)
	switch {
	case m == nil && strings.HasPrefix(name, "kubeproxydaemonset"):
		return "", "", "kube-proxy is a static pod here: name the file kube-proxy instead of kubeproxydaemonset"
	case m == nil:
		return "", "", "the name does not start with one of " + strings.Join(patchTargets(), ", ")
	case m[2] == "":
		return m[1], strategicPatch, ""
	}
	return m[1], patchKind(m[3]), ""
}

// splitYAML returns the documents of a stream as JSON; empty ones are left out.
func splitYAML(data []byte) ([][]byte, error) {
	var out [][]byte
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(doc)) == 0 {
			continue
		}
		raw, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(raw, []byte("null")) {
			out = append(out, raw)
		}
	}
}

// Apply changes a document by all patches for a target. The result is JSON
// where there was a patch. The type of schema tells a strategic patch how to
// merge lists.
func (p Patches) Apply(target string, document []byte, schema any) ([]byte, error) {
	if !slices.ContainsFunc(p.patches, func(c patch) bool { return c.target == target }) {
		return document, nil
	}
	document, err := yaml.YAMLToJSON(document)
	if err != nil {
		return nil, fmt.Errorf("patch %s: %w", target, err)
	}
	for _, c := range p.patches {
		if c.target != target {
			continue
		}
		if document, err = c.apply(document, schema); err != nil {
			return nil, fmt.Errorf("apply %s patch %s: %w", c.kind, c.file, err)
		}
	}
	return document, nil
}

func (p patch) apply(document []byte, schema any) ([]byte, error) {
	switch p.kind {
	case jsonPatch:
		operations, err := jsonpatch.DecodePatch(p.data)
		if err != nil {
			return nil, err
		}
		return operations.Apply(document)
	case mergePatch:
		return jsonpatch.MergePatch(document, p.data)
	default:
		return strategicpatch.StrategicMergePatch(document, p.data, schema)
	}
}

// Kubelet returns the configuration for the kubelet of this host: what all
// kubelets share, with the user's patches for this one.
func Kubelet(cfg *config.Init, p Patches) ([]byte, error) {
	shared, err := config.MarshalKubelet(&cfg.Kubelet)
	if err != nil {
		return nil, err
	}
	patched, err := p.Apply(targetKubelet, shared, kubeletv1beta1.KubeletConfiguration{})
	if err != nil {
		return nil, err
	}
	var k kubeletv1beta1.KubeletConfiguration
	if err := decode(patched, &k); err != nil {
		return nil, fmt.Errorf("decode patched KubeletConfiguration: %w", err)
	}
	return config.MarshalKubelet(&k)
}
