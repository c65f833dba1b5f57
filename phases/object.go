package phases

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// planObjects returns the changes that make the cluster hold the objects.
func (a apiServer) planObjects(ctx context.Context, objects ...*unstructured.Unstructured) ([]Change, error) {
	var changes []Change
	for _, obj := range objects {
		verb, err := a.verbFor(ctx, obj)
		if err != nil {
			return nil, err
		}
		if verb != "" {
			changes = append(changes, Change{
				Desc:  verb + " " + describe(obj),
				Apply: func(ctx context.Context) error { return a.apply(ctx, obj) },
			})
		}
	}
	return changes, nil
}

// verbFor says what has to be done for the cluster to hold obj: empty if it
// does. Comparing here is cheap and may be mistaken in one direction only, so
// the API server is asked for the last word.
func (a apiServer) verbFor(ctx context.Context, obj *unstructured.Unstructured) (string, error) {
	live, err := a.get(ctx, obj)
	switch {
	case err != nil:
		return "", err
	case live == nil:
		return "create", nil
	case covers(live.Object, obj.Object) && !ownsMore(live, obj):
		return "", nil
	}
	var after *unstructured.Unstructured
	err = a.call(ctx, readAgain, func(ctx context.Context) error {
		after, err = a.applyOnce(ctx, obj, metav1.DryRunAll)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("compare %s: %w", describe(obj), err)
	}
	if reflect.DeepEqual(essence(live), essence(after)) {
		return "", nil
	}
	return "update", nil
}

// essence is an object without what changes by itself.
func essence(obj *unstructured.Unstructured) map[string]any {
	c := obj.DeepCopy()
	for _, field := range []string{"managedFields", "resourceVersion", "generation"} {
		unstructured.RemoveNestedField(c.Object, "metadata", field)
	}
	return c.Object
}

// covers says whether have holds all that want holds: more fields are fine,
// more elements of a list are not.
func covers(have, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		h, _ := have.(map[string]any)
		for k, v := range want {
			if !covers(h[k], v) {
				return false
			}
		}
		return true
	case []any:
		h, _ := have.([]any)
		return slices.EqualFunc(h, want, covers)
	default:
		return have == want
	}
}

// ownsMore says whether boot once applied fields to live that obj no longer
// has: applying obj would remove them.
func ownsMore(live, obj *unstructured.Unstructured) bool {
	for _, entry := range live.GetManagedFields() {
		if entry.Manager != fieldManager || entry.Operation != metav1.ManagedFieldsOperationApply || entry.FieldsV1 == nil {
			continue
		}
		var owned map[string]any
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &owned) != nil || exceeds(owned, obj.Object) {
			return true
		}
	}
	return false
}

// exceeds walks the fields of a managedFields entry, whose keys are "f:name"
// for a field and "k:{...}" for an element of a list.
func exceeds(owned map[string]any, want any) bool {
	for key, below := range owned {
		kind, name, _ := strings.Cut(key, ":")
		var next any
		switch kind {
		case "f":
			fields, _ := want.(map[string]any)
			next = fields[name]
		case "k":
			next = element(want, name)
		default:
			continue // the item itself, or a scalar that covers has compared
		}
		if next == nil {
			return true
		}
		if fields, _ := below.(map[string]any); exceeds(fields, next) {
			return true
		}
	}
	return false
}

// element finds the element of a list by its keys, written as JSON. A key it
// leaves to be defaulted is no difference.
func element(list any, keys string) any {
	var want map[string]any
	elements, _ := list.([]any)
	if json.Unmarshal([]byte(keys), &want) != nil {
		return nil
	}
	for _, e := range elements {
		fields, _ := e.(map[string]any)
		same := true
		for k, v := range want {
			if have, ok := fields[k]; ok && fmt.Sprint(have) != fmt.Sprint(v) {
				same = false
			}
		}
		if same {
			return e
		}
	}
	return nil
}
