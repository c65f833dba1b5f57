package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/distribution/reference"
	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// Ensure returns the runtime's record of the image of c, pulled if the policy
// says so:
//
//	             there?          not there, or Always
//	Never        ok              ErrImageNeverPull
//	IfNotPresent ok              wait for imports, pull
//	Always       pull            wait for imports, pull
//
// Errors are of type *pod.ActionError. After a failed pull the image is not
// tried again for a while, which is told as ImagePullBackOff.
func (u *Puller) Ensure(ctx context.Context, p *v1.Pod, c *v1.Container) (*cri.Image, error) {
	name, err := reference.ParseNormalizedNamed(c.Image)
	if err != nil {
		return nil, u.failed(ctx, p, reasonInvalid, "InspectFailed", fmt.Errorf("read image name %q: %w", c.Image, err))
	}
	policy := policyOf(c, name)
	image, err := u.look(ctx, c.Image)
	if err == nil && image == nil && policy != v1.PullNever {
		image, err = u.imported(ctx, c.Image, reference.TagNameOnly(name).String())
	}
	if err != nil {
		return nil, u.failed(ctx, p, reasonInspect, "InspectFailed", err)
	}
	switch {
	case image == nil && policy == v1.PullNever:
		err := fmt.Errorf("Container image %q is not present with pull policy of Never", c.Image) //nolint:staticcheck // upstream's words
		return nil, u.failed(ctx, p, reasonNever, reasonNever, err)
	case image != nil && policy != v1.PullAlways:
		u.o.Event(p, v1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine", c.Image))
		return image, nil
	}
	return u.pull(ctx, p, c.Image)
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
		return nil, fmt.Errorf("look for image %q: %w", image, err)
	}
	return resp.Image, nil
}

// imported waits for local bundles and returns the image if one brought it.
// That they cannot be waited for is no reason not to pull.
func (u *Puller) imported(ctx context.Context, image, fullName string) (*cri.Image, error) {
	if u.o.Importing == nil {
		return nil, nil
	}
	waitCtx, cancel := context.WithTimeout(ctx, importTimeout)
	defer cancel()
	if err := u.o.Importing(waitCtx, fullName); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		u.o.Log.Warn("image is pulled before local bundles are imported", slog.String("image", image), slog.Any("err", err))
	}
	return u.look(ctx, image)
}

// pull pulls the image unless that failed a moment ago.
func (u *Puller) pull(ctx context.Context, p *v1.Pod, image string) (*cri.Image, error) {
	if left, cause := u.backOff(image, time.Now()); left > 0 {
		u.o.Event(p, v1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", image))
		return nil, &pod.ActionError{
			Reason: reasonBackOff, Retry: left,
			Err: fmt.Errorf("Back-off pulling image %q: %w", image, cause), //nolint:staticcheck // upstream's words
		}
	}
	u.o.Event(p, v1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", image))
	began := time.Now()
	got, err := u.join(ctx, p, image)
	if err != nil {
		err := u.failed(ctx, p, reasonPull, "Failed", fmt.Errorf("Failed to pull image %q: %w", image, err)) //nolint:staticcheck // upstream's words
		err.Retry = showError
		return nil, err
	}
	waited := time.Since(began).Round(time.Millisecond)
	u.o.Event(p, v1.EventTypeNormal, "Pulled", fmt.Sprintf(
		"Successfully pulled image %q in %s (%s including waiting). Image size: %d bytes.",
		image, got.took.Round(time.Millisecond), waited, got.image.Size))
	return got.image, nil
}

// failed records a failure as an event, unless it only was cut short.
func (u *Puller) failed(ctx context.Context, p *v1.Pod, reason, event string, err error) *pod.ActionError {
	if canceled := ctx.Err(); canceled != nil {
		if !errors.Is(err, canceled) { // a gRPC status does not say so itself
			err = fmt.Errorf("%w: %w", canceled, err)
		}
		return &pod.ActionError{Reason: reason, Err: err}
	}
	u.o.Event(p, v1.EventTypeWarning, event, err.Error())
	return &pod.ActionError{Reason: reason, Err: err}
}
