package phases

import (
	"context"

	"boot.internal/config"
)

// An upgradePreflight refuses an upgrade that cannot go well, before anything is
// touched, and gets the images, so that nothing waits for them later.
type upgradePreflight struct{ UpgradeOptions }

// Plan implements Phase.
func (p upgradePreflight) Plan(ctx context.Context) ([]Change, error) {
	if stop := sift(ctx, p.Findings, p.Ignore); len(stop) > 0 {
		return nil, &PreflightError{Findings: stop, Subject: "the cluster"}
	}
	var changes []Change
	for _, image := range p.images() {
		present, err := p.Images.Present(ctx, image)
		if err != nil {
			return nil, err
		}
		if !present {
			changes = append(changes, Change{"get the image " + image, func(ctx context.Context) error { return p.Images.Get(ctx, image) }})
		}
	}
	return changes, nil
}

// images are those of the static pods to be.
func (o UpgradeOptions) images() []string {
	c := &o.Config.Cluster
	var all []string
	if o.ControlPlane && !o.KeepEtcd && c.Etcd.External == nil {
		all = append(all, c.Image(config.ComponentEtcd))
	}
	if o.ControlPlane {
		all = append(all, c.Image(config.ComponentAPIServer), c.Image(config.ComponentControllerManager), c.Image(config.ComponentScheduler))
	}
	if !c.Proxy.Disabled {
		all = append(all, c.Image(config.ComponentProxy))
	}
	return all
}
