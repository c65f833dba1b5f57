package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/distribution/reference"
	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// A request is for the image of a container of a pod.
type request struct {
	p         *v1.Pod
	container string
	image     string          // as the pod names it
	name      reference.Named // in full, without a default tag
}

// Ensure returns the runtime's record of the image of c, pulled if the policy
// says so:
//
//	             there, for this pod   not there, or Always
//	Never        ok                    ErrImageNeverPull
//	IfNotPresent ok                    wait for imports, pull
//	Always       pull                  wait for imports, pull
//
// An image that came by credentials of others is as good as not there.
//
// Errors are of type *pod.ActionError. After a failed pull the image is not
// tried again for a while, which is told as ImagePullBackOff.
func (u *Puller) Ensure(ctx context.Context, p *v1.Pod, c *v1.Container) (*cri.Image, error) {
	name, err := reference.ParseNormalizedNamed(c.Image)
	r := request{p, c.Name, c.Image, name}
	if err != nil {
		//nolint:staticcheck // upstream's words
		err = fmt.Errorf("Failed to apply default image tag %q: couldn't parse image name %q: %w", c.Image, c.Image, err)
		return nil, u.failed(ctx, r, reasonInvalid, "InspectFailed", err)
	}
	policy := policyOf(c, name)
	image, err := u.find(ctx, r, policy)
	if err != nil {
		//nolint:staticcheck // upstream's words
		return nil, u.failed(ctx, r, reasonInspect, "InspectFailed", fmt.Errorf("Failed to inspect image %q: %w", c.Image, err))
	}
	if image != nil && policy != v1.PullAlways && u.mayUse(ctx, r, image) {
		u.o.Event(r.p, r.container, v1.EventTypeNormal, "Pulled",
			fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", c.Image))
		return image, nil
	}
	if policy == v1.PullNever {
		// Whether it is there is nobody's business who may not have it.
		err := fmt.Errorf("Container image %q is not present with pull policy of Never", c.Image) //nolint:staticcheck // upstream's words
		return nil, u.failed(ctx, r, reasonNever, reasonNever, err)
	}
	return u.pull(ctx, r)
}

// find returns the image if it is there or an import brings it.
func (u *Puller) find(ctx context.Context, r request, policy v1.PullPolicy) (*cri.Image, error) {
	image, err := u.look(ctx, r.image)
	if err != nil || image != nil || policy == v1.PullNever {
		return image, err
	}
	return u.imported(ctx, r.image, reference.TagNameOnly(r.name).String())
}

// policyOf returns the pull policy of c: by default an image is pulled whose
// name may mean something else tomorrow.
func policyOf(c *v1.Container, name reference.Named) v1.PullPolicy {
	if c.ImagePullPolicy != "" {
		return c.ImagePullPolicy
	}
	tagged, ok := reference.TagNameOnly(name).(reference.Tagged)
	if ok && tagged.Tag() == "latest" {
		return v1.PullAlways
	}
	return v1.PullIfNotPresent
}

// look returns the runtime's record of an image, nil where it has none.
func (u *Puller) look(ctx context.Context, image string) (*cri.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	resp, err := u.o.CRI.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: image}})
	if err != nil {
		return nil, err
	}
	return resp.Image, nil
}

// imported waits for local bundles and returns the image if one brought it.
// That they cannot be waited for is no reason not to pull.
func (u *Puller) imported(ctx context.Context, image, fullName string) (*cri.Image, error) {
	if u.o.Importing == nil {
		return nil, nil
	}
	if err := u.o.Importing(ctx, fullName); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		u.o.Log.Warn("image is pulled before local bundles are imported", slog.String("image", image), slog.Any("err", err))
	}
	return u.look(ctx, image)
}

// failed records a failure as events, unless it only was cut short.
func (u *Puller) failed(ctx context.Context, r request, reason, event string, err error) *pod.ActionError {
	if canceled := ctx.Err(); canceled != nil {
		if !errors.Is(err, canceled) { // a gRPC status does not say so itself
			err = fmt.Errorf("%w: %w", canceled, err)
		}
		return &pod.ActionError{Reason: reason, Err: err}
	}
	u.o.Event(r.p, r.container, v1.EventTypeWarning, event, err.Error())
	u.o.Event(r.p, r.container, v1.EventTypeWarning, "Failed", "Error: "+reason)
	return &pod.ActionError{Reason: reason, Err: err}
}
