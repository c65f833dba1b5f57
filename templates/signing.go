package templates

import (
	"regexp"
	"slices"

	"sigs.k8s.io/yaml"
)

// IssuedAnnotation says on the API server's pod for which rotation of authorities
// its connections were made anew.
const IssuedAnnotation = "boot.internal/ca-rotation"

// signingFlag is one of those that say which certificate the controller manager
// signs with: there is one for all signers, and one for each.
var signingFlag = regexp.MustCompile(`^(--cluster-signing-(?:[a-z-]+-)?cert-file=)(.*)$`)

// WithSigningCert returns the manifest of a controller manager that signs with the
// certificate in the file at path wherever it signed with one of before. One that
// does comes back as it is.
func WithSigningCert(manifest []byte, before []string, path string) ([]byte, error) {
	var fields any
	if err := yaml.Unmarshal(manifest, &fields); err != nil {
		return nil, err
	}
	changed := false
	fields = eachText(fields, func(text string) string {
		flag := signingFlag.FindStringSubmatch(text)
		if flag == nil || flag[2] == path || !slices.Contains(before, flag[2]) {
			return text
		}
		changed = true
		return flag[1] + path
	})
	if !changed {
		return manifest, nil
	}
	return yaml.Marshal(fields)
}

// eachText changes every text in a document.
func eachText(value any, change func(string) string) any {
	switch v := value.(type) {
	case string:
		return change(v)
	case []any:
		for i := range v {
			v[i] = eachText(v[i], change)
		}
	case map[string]any:
		for key := range v {
			v[key] = eachText(v[key], change)
		}
	}
	return value
}
