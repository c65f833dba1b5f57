package credential

import (
	"maps"
	"slices"
)

// A keyring holds credentials by what they are for.
type keyring map[string][]Credential

// add puts in what a file or plugin brought. Entries for what is no registry are
// of no use to anybody.
func (k keyring) add(all logins, from Origin) {
	for _, registry := range slices.Sorted(maps.Keys(all)) {
		if key, err := keyOf(registry); err == nil {
			k[key] = append(k[key], Credential{all[registry], from})
		}
	}
}

// lookup returns what fits an image, named in full but for its tag. What is
// meant for a longer path comes first.
func (k keyring) lookup(image string) []Credential {
	var found []Credential
	keys := slices.Sorted(maps.Keys(k))
	slices.Reverse(keys)
	for _, key := range keys {
		if matches(key, image) {
			found = append(found, k[key]...)
		}
	}
	if len(found) == 0 && isHub(image) {
		return k[hubHost]
	}
	return found
}
