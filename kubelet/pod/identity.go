package pod

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// UID returns the UID of a static pod: the hash of its canonical document, the
// node and the place it came from, such as "file:/etc/kubernetes/manifests/etcd.yaml".
// doc is the document as the user wrote it, as JSON: keys are sorted and white
// space is dropped here, so comments, order and layout change nothing (SP-16),
// and because nothing is defaulted, neither does a new version of boot (SP-21).
func UID(doc []byte, node, place string) (types.UID, error) {
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		return "", fmt.Errorf("read document of %s: %w", place, err)
	}
	canonical, err := json.Marshal(v) // sorts the keys of maps
	if err != nil {
		return "", fmt.Errorf("write canonical document of %s: %w", place, err)
	}
	h := fnv.New128a()
	for _, part := range []string{string(canonical), "host:" + node, place} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part), part) // so that parts cannot run into each other
	}
	return types.UID(hex.EncodeToString(h.Sum(nil))), nil
}

// ContainerHash returns the hash by which a running container is recognised as
// made from this spec. Name and image are what counts (IC-21): everything else
// of an API pod either cannot change or is applied in place, and a static pod
// with any change has a new UID. Only where the user fixed the UID of a static
// pod is the container hashed whole, so that any change restarts it (SP-40).
func ContainerHash(p *v1.Pod, c *v1.Container) string {
	var what any = struct{ Name, Image string }{c.Name, c.Image}
	if IsStatic(p) && p.Annotations[ConfigHash] != string(p.UID) {
		what = c
	}
	data, err := json.Marshal(what)
	if err != nil { // a v1.Container holds nothing that JSON cannot
		return ""
	}
	h := fnv.New64a()
	_, _ = h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}
