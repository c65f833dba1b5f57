package config

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"

	jsonpatch "github.com/evanphx/json-patch/v5"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/evict"
)

// dropInExt is how the name of a drop-in ends. Other files of the directory are
// none, so that editors and package managers may leave theirs there.
const dropInExt = ".conf"

// merge changes the kubelet's configuration as the drop-ins below dir say, one
// after the other in the order of their paths. As in the kubelet (KEP-3983),
// each is a JSON merge patch (RFC 7386) of the configuration with all its
// defaults: objects and maps are merged, lists are replaced, and null brings the
// default back. At learns where settings are written now.
func (l *Loop) merge(dir string, at positions) error {
	files, err := dropIns(dir)
	if err != nil {
		return err
	}
	// The defaults of thresholds depend on the host, and so come from elsewhere.
	l.Kubelet.EvictionHard = evict.Config{
		Hard: l.Kubelet.EvictionHard, Merge: value(l.Kubelet.MergeDefaultEvictionSettings),
	}.HardSettings()
	merged, err := json.Marshal(&l.Kubelet)
	if err != nil {
		return fmt.Errorf("encode %s: %w", kindKubelet, err)
	}
	for _, path := range files {
		docs, err := readDropIn(path)
		if err != nil {
			return err
		}
		if merged, err = docs.patch(merged); err != nil {
			return fmt.Errorf("merge %s: %w", path, err)
		}
		l.overlay(path, docs.at, at)
	}
	l.Kubelet = kubeletv1beta1.KubeletConfiguration{}
	if err := json.Unmarshal(merged, &l.Kubelet); err != nil {
		return fmt.Errorf("decode the merged %s: %w", kindKubelet, err)
	}
	DefaultKubelet(&l.Kubelet)
	return nil
}

// dropIns returns the paths of the drop-ins below dir, at whatever depth, in
// lexical order. A directory that is not there is an error: who names one means
// what is in it.
func dropIns(dir string) ([]string, error) {
	var paths []string
	// Without the separator a link to a directory would not be followed.
	err := filepath.WalkDir(dir+string(filepath.Separator), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(entry.Name()) == dropInExt {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read drop-in configuration: %w", err)
	}
	return paths, nil
}

// readDropIn reads a file that has to hold one KubeletConfiguration, and nothing
// else.
func readDropIn(path string) (*documents, error) {
	data, err := readSource(path, nil)
	if err != nil {
		return nil, fmt.Errorf("read drop-in configuration: %w", err)
	}
	docs, err := decode(path, data)
	if err != nil {
		return nil, err
	}
	others := *docs
	others.Kubelet = nil
	if docs.Kubelet == nil || !others.empty() {
		return nil, &Error{path, []Finding{{
			Message: "a drop-in is one " + kindKubelet + " and nothing else",
			Hint:    "begin it with apiVersion: " + KubeletAPIVersion + " and kind: " + kindKubelet,
		}}}
	}
	return docs, nil
}

// patch returns a KubeletConfiguration, as JSON, with what the document changes.
func (d *documents) patch(kubelet []byte) ([]byte, error) {
	change, err := json.Marshal(d.kubelet)
	if err != nil {
		return nil, err
	}
	return jsonpatch.MergePatch(kubelet, change)
}

// overlay takes over where the drop-in at path has its settings, and what it is
// warned of.
func (l *Loop) overlay(path string, written, at positions) {
	for _, w := range kubeletWarnings(written) {
		l.Warnings = append(l.Warnings, path+": "+w)
	}
	for key, p := range written {
		p.file = path
		at[key] = p
	}
}
