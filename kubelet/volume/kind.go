package volume

import (
	"encoding/json"

	v1 "k8s.io/api/core/v1"
)

// kind returns the field of the volume source that is set, as users write it.
func kind(src v1.VolumeSource) string { return onlyField(src) }

// onlyField returns the name of the one field a union type has, in JSON.
func onlyField(union any) string {
	data, err := json.Marshal(union)
	if err != nil {
		return "unknown"
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &fields); err != nil {
		return "unknown"
	}
	for name := range fields {
		return name
	}
	return "unknown"
}
