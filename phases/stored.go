package phases

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"boot.internal/config"
	"boot.internal/templates"
)

// stored is the phase that makes the cluster hold the objects that render makes.
func stored(api apiServer, render func() ([]*unstructured.Unstructured, error)) Phase {
	return PlanFunc(func(ctx context.Context) ([]Change, error) {
		objects, err := render()
		if err != nil {
			return nil, err
		}
		return api.planObjects(ctx, objects...)
	})
}

// coreDNS stores the objects of the DNS add-on. Its configuration is for people
// to edit: once there, it is theirs.
func coreDNS(api apiServer, cfg *config.Init, patches templates.Patches) Phase {
	return PlanFunc(func(ctx context.Context) ([]Change, error) {
		objects, err := templates.CoreDNS(cfg, patches)
		if err != nil {
			return nil, err
		}
		var changes []Change
		for _, obj := range objects {
			if obj.GetKind() == "ConfigMap" {
				live, err := api.get(ctx, obj)
				if err != nil {
					return nil, err
				}
				if live != nil {
					continue
				}
			}
			change, err := api.planObjects(ctx, obj)
			if err != nil {
				return nil, err
			}
			changes = append(changes, change...)
		}
		return changes, nil
	})
}
