// Package checksum computes what a kubelet writes into its checkpoint files, and holds
// against them when it reads them again, as upstream's checkpoint manager does.
package checksum

import (
	"hash/fnv"

	"k8s.io/utils/dump"
)

// A Checksum is that of a value. Its name and that of its package are upstream's: they
// count where one is a field of what a checksum is of.
type Checksum uint64

// Of returns the checksum of a value, over its fields and the names of its types.
func Of(value any) Checksum {
	h := fnv.New32a()
	_, _ = h.Write([]byte(dump.ForHash(value)))
	return Checksum(h.Sum32())
}
