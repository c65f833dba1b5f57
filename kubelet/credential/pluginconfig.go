package credential

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	kubeletv1 "k8s.io/kubelet/config/v1"
	"sigs.k8s.io/yaml"
)

// ReadConfig reads a CredentialProviderConfig, from a file or from all files of a
// directory that end in .json, .yaml or .yml, in the order of their names
// (--image-credential-provider-config). The hash tells configurations apart, in
// the way of upstream's metric.
func ReadConfig(path string) (providers []kubeletv1.CredentialProvider, hash string, err error) {
	files, err := configFiles(path)
	if err != nil {
		return nil, "", err
	}
	sum := sha256.New()
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, "", fmt.Errorf("read credential providers: %w", err)
		}
		sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(data))))
		sum.Write(data)
		list, err := decodeConfig(data)
		if err != nil {
			return nil, "", fmt.Errorf("read credential providers: %s: %w", file, err)
		}
		providers = append(providers, list...)
	}
	if err := validate(providers); err != nil {
		return nil, "", fmt.Errorf("read credential providers: %s: %w", path, err)
	}
	return providers, fmt.Sprintf("sha256:%x", sum.Sum(nil)), nil
}

func configFiles(path string) ([]string, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read credential providers: %w", err)
	}
	if !fi.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // by name
	if err != nil {
		return nil, fmt.Errorf("read credential providers: %w", err)
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".json", ".yaml", ".yml"}, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("read credential providers: no configuration in %s", path)
	}
	return files, nil
}

// decodeConfig reads one document. The versions differ in name only.
func decodeConfig(data []byte) ([]kubeletv1.CredentialProvider, error) {
	var c kubeletv1.CredentialProviderConfig
	if err := yaml.UnmarshalStrict(data, &c); err != nil {
		return nil, err
	}
	group, version, _ := strings.Cut(c.APIVersion, "/")
	if group != kubeletv1.GroupName || !slices.Contains([]string{"v1", "v1beta1", "v1alpha1"}, version) || c.Kind != "CredentialProviderConfig" {
		return nil, fmt.Errorf("%s %s is not a CredentialProviderConfig", c.APIVersion, c.Kind)
	}
	return c.Providers, nil
}

// The versions of the protocol that plugins may speak.
const protocolGroup = "credentialprovider.kubelet.k8s.io/"

// validate finds everything that is wrong with the providers.
func validate(providers []kubeletv1.CredentialProvider) error {
	var wrong []error
	if len(providers) == 0 {
		wrong = append(wrong, errors.New("providers: at least one is required"))
	}
	seen := map[string]bool{}
	for i := range providers {
		p := &providers[i]
		if seen[p.Name] {
			wrong = append(wrong, fmt.Errorf("provider %q: duplicate name", p.Name))
		}
		seen[p.Name] = true
		for _, err := range slices.Concat(checkProvider(p), checkToken(p)) {
			wrong = append(wrong, fmt.Errorf("provider %q: %w", p.Name, err))
		}
	}
	return errors.Join(wrong...)
}

func checkProvider(p *kubeletv1.CredentialProvider) (wrong []error) {
	if p.Name == "" || p.Name == "." || p.Name == ".." || strings.ContainsAny(p.Name, "/ ") {
		wrong = append(wrong, errors.New("name: must be that of a file, without spaces"))
	}
	version, ok := strings.CutPrefix(p.APIVersion, protocolGroup)
	if !ok || !slices.Contains([]string{"v1", "v1beta1", "v1alpha1"}, version) {
		wrong = append(wrong, fmt.Errorf("apiVersion: %q is none of %s{v1,v1beta1,v1alpha1}", p.APIVersion, protocolGroup))
	}
	if len(p.MatchImages) == 0 {
		wrong = append(wrong, errors.New("matchImages: at least one is required"))
	}
	for _, m := range p.MatchImages {
		if _, err := url.Parse("https://" + m); err != nil {
			wrong = append(wrong, fmt.Errorf("matchImages: %w", err))
		}
	}
	switch {
	case p.DefaultCacheDuration == nil:
		wrong = append(wrong, errors.New("defaultCacheDuration: required"))
	case p.DefaultCacheDuration.Duration < 0:
		wrong = append(wrong, errors.New("defaultCacheDuration: must not be negative"))
	}
	return wrong
}

// checkToken checks what is configured of service account tokens (KEP-4412).
func checkToken(p *kubeletv1.CredentialProvider) (wrong []error) {
	t := p.TokenAttributes
	if t == nil {
		return nil
	}
	if p.APIVersion != protocolGroup+"v1" {
		wrong = append(wrong, errors.New("tokenAttributes: only for apiVersion "+protocolGroup+"v1"))
	}
	if t.ServiceAccountTokenAudience == "" {
		wrong = append(wrong, errors.New("tokenAttributes.serviceAccountTokenAudience: required"))
	}
	switch {
	case t.RequireServiceAccount == nil:
		wrong = append(wrong, errors.New("tokenAttributes.requireServiceAccount: required"))
	case !*t.RequireServiceAccount && len(t.RequiredServiceAccountAnnotationKeys) > 0:
		wrong = append(wrong, errors.New("tokenAttributes.requireServiceAccount: must be true with requiredServiceAccountAnnotationKeys"))
	}
	if t.CacheType != kubeletv1.ServiceAccountServiceAccountTokenCacheType && t.CacheType != kubeletv1.TokenServiceAccountTokenCacheType {
		wrong = append(wrong, fmt.Errorf("tokenAttributes.cacheType: %q is neither ServiceAccount nor Token", t.CacheType))
	}
	return append(wrong, checkAnnotations(slices.Concat(t.RequiredServiceAccountAnnotationKeys, t.OptionalServiceAccountAnnotationKeys))...)
}

func checkAnnotations(keys []string) (wrong []error) {
	seen := map[string]bool{}
	for _, key := range keys {
		for _, msg := range validation.IsQualifiedName(strings.ToLower(key)) {
			wrong = append(wrong, fmt.Errorf("tokenAttributes: annotation %q: %s", key, msg))
		}
		if seen[key] {
			wrong = append(wrong, fmt.Errorf("tokenAttributes: annotation %q: named twice", key))
		}
		seen[key] = true
	}
	return wrong
}

func cacheDuration(d *metav1.Duration, otherwise *metav1.Duration) metav1.Duration {
	if d != nil {
		return *d
	}
	return *otherwise
}
