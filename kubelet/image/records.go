package image

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/atomicfile"
)

// records are files that say which images were pulled, and with whose
// credentials, in upstream's form and places:
//
//	pulling/sha256-…  ImagePullIntent: a pull that began and may be over
//	pulled/sha256-…   ImagePulledRecord: of an image that the loop pulled
type records struct {
	dir string

	mu        sync.Mutex // guards the files and what follows
	intents   map[string]int
	recovered bool // the intents of an earlier run are dealt with
}

func newRecords(dir string) *records { return &records{dir: dir, intents: map[string]int{}} }

func (r *records) intentPath(image string) string {
	return filepath.Join(r.dir, "pulling", fileName(image))
}

func (r *records) pulledPath(id string) string { return filepath.Join(r.dir, "pulled", fileName(id)) }

const filePrefix = "sha256-"

func fileName(of string) string { return fmt.Sprintf("%s%x", filePrefix, sha256.Sum256([]byte(of))) }

// intend records that a pull begins. A nil records records nothing.
func (r *records) intend(image string) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.intents[image]++; r.intents[image] > 1 {
		return nil
	}
	err := write(r.intentPath(image), kubeletv1beta1.ImagePullIntent{TypeMeta: meta("ImagePullIntent"), Image: image})
	if err != nil {
		delete(r.intents, image)
	}
	return err
}

// end records that a pull is over.
func (r *records) end(image string) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.intents[image]--; r.intents[image] > 0 {
		return nil
	}
	delete(r.intents, image)
	return remove(r.intentPath(image))
}

// add records that an image of this name was pulled, or might have been, by
// those it was granted to. The zero grant records that nobody knows by whom.
func (r *records) add(image, id string, grant kubeletv1beta1.ImagePullCredentials) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	record, _, err := r.read(id)
	if err != nil { // one that cannot be read tells nothing: it is replaced
		record = kubeletv1beta1.ImagePulledRecord{}
	}
	isNew := record.ImageRef == ""
	merged, changed := merge(record.CredentialMapping[bare(image)], grant)
	if !isNew && !changed {
		return nil
	}
	if record.CredentialMapping == nil {
		record.CredentialMapping = map[string]kubeletv1beta1.ImagePullCredentials{}
	}
	if changed {
		record.CredentialMapping[bare(image)] = merged
	}
	record.TypeMeta, record.ImageRef, record.LastUpdatedTime = meta("ImagePulledRecord"), id, metav1.Now()
	return write(r.pulledPath(id), record)
}

// merge adds a grant to what was granted before, and reports whether that is
// more.
func merge(old, grant kubeletv1beta1.ImagePullCredentials) (kubeletv1beta1.ImagePullCredentials, bool) {
	switch {
	case old.NodePodsAccessible:
		return old, false
	case grant.NodePodsAccessible:
		return kubeletv1beta1.ImagePullCredentials{NodePodsAccessible: true}, true
	}
	merged, changed := old, false
	for _, s := range grant.KubernetesSecrets {
		if slices.Contains(merged.KubernetesSecrets, s) {
			continue
		}
		changed = true
		rest := slices.DeleteFunc(slices.Clone(merged.KubernetesSecrets), func(o kubeletv1beta1.ImagePullSecret) bool { return sameSecret(o, s) })
		merged.KubernetesSecrets = append(rest, s)
	}
	for _, a := range grant.KubernetesServiceAccounts {
		if !slices.Contains(merged.KubernetesServiceAccounts, a) {
			changed = true
			merged.KubernetesServiceAccounts = append(slices.Clone(merged.KubernetesServiceAccounts), a)
		}
	}
	slices.SortFunc(merged.KubernetesSecrets, func(a, b kubeletv1beta1.ImagePullSecret) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return merged, changed
}

// find returns the record of an image, empty if there is none, and whether the
// loop pulled it at some time.
func (r *records) find(image, id string) (record kubeletv1beta1.ImagePulledRecord, pulled bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	record, pulled, err = r.read(id)
	if err != nil || pulled {
		return record, pulled, err
	}
	_, err = os.Stat(r.intentPath(image))
	if errors.Is(err, fs.ErrNotExist) {
		return record, false, nil
	}
	return record, err == nil, err
}

// read reads the record of an image. mu must be held.
func (r *records) read(id string) (record kubeletv1beta1.ImagePulledRecord, ok bool, err error) {
	data, err := os.ReadFile(r.pulledPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return record, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &record)
	}
	if err != nil {
		return record, false, fmt.Errorf("read record of image %s: %w", id, err)
	}
	return record, true, nil
}

// prune forgets images that are not there any more. Records newer than since
// stay: they may be of images that the list does not know yet.
func (r *records) prune(ids map[string]bool, since time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var wrong []error
	for _, path := range files(filepath.Join(r.dir, "pulled")) {
		var record kubeletv1beta1.ImagePulledRecord
		data, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(data, &record)
		}
		if err == nil && (ids[record.ImageRef] || !record.LastUpdatedTime.Time.Before(since)) {
			continue
		}
		wrong = append(wrong, remove(path)) // one that cannot be read is of no use to anybody
	}
	return errors.Join(wrong...)
}

// left returns the images whose pull an earlier run began and did not end. It
// returns them until settled is called.
func (r *records) left() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recovered {
		return nil
	}
	var images []string
	for _, path := range files(filepath.Join(r.dir, "pulling")) {
		var intent kubeletv1beta1.ImagePullIntent
		data, err := os.ReadFile(path)
		if err == nil && json.Unmarshal(data, &intent) == nil && r.intents[intent.Image] == 0 {
			images = append(images, intent.Image)
		}
	}
	r.recovered = len(images) == 0
	return images
}

func (r *records) settled() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recovered = true
}

func meta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: kubeletv1beta1.SchemeGroupVersion.String(), Kind: kind}
}

// files returns the records in a directory, without what was being written.
func files(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil { // nothing was pulled yet
		return nil
	}
	var paths []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filePrefix) && len(e.Name()) == len(filePrefix)+2*sha256.Size {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

func write(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make directory of records: %w", err)
	}
	return atomicfile.Write(path, data, 0o600)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove record: %w", err)
	}
	return nil
}
