package image

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/credential"
	"boot.internal/kubelet/pod"
)

// pull pulls the image unless that failed a moment ago.
func (u *Puller) pull(ctx context.Context, r request) (*cri.Image, error) {
	a := attempt{r.p.UID, r.image}
	if left, cause := u.backOff(a, time.Now()); left > 0 {
		message := fmt.Sprintf("Back-off pulling image %q", r.image)
		u.o.Event(r.p, r.container, v1.EventTypeNormal, "BackOff", message)
		u.o.Event(r.p, r.container, v1.EventTypeWarning, "Failed", "Error: "+reasonBackOff)
		return nil, &pod.ActionError{Reason: reasonBackOff, Retry: left, Err: fmt.Errorf("%s: %w", message, cause)}
	}
	u.o.Event(r.p, r.container, v1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", r.image))
	began := time.Now()
	found, missing := u.credentials(ctx, r)
	got, err := u.join(ctx, r.image, found)
	if err != nil {
		return nil, u.pullFailed(ctx, r, missing, err)
	}
	u.note(a, nil, time.Now())
	u.recordPulled(ctx, r, got, found)
	u.o.Event(r.p, r.container, v1.EventTypeNormal, "Pulled", fmt.Sprintf(
		"Successfully pulled image %q in %s (%s including waiting). Image size: %d bytes.",
		r.image, got.took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), got.image.Size))
	return got.image, nil
}

func (u *Puller) credentials(ctx context.Context, r request) (found []credential.Credential, missing []string) {
	if u.o.Credentials == nil {
		return nil, nil
	}
	return u.o.Credentials(ctx, r.p, r.name.Name())
}

// pullFailed tells of a failed pull. That secrets were missing may be why.
func (u *Puller) pullFailed(ctx context.Context, r request, missing []string, cause error) error {
	reason, err := explain(r.image, cause)
	if ctx.Err() != nil {
		return u.failed(ctx, r, reason, "Failed", err)
	}
	u.note(attempt{r.p.UID, r.image}, fmt.Errorf("%s: %w", reason, err), time.Now())
	u.o.Event(r.p, r.container, v1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", r.image, cause))
	u.o.Event(r.p, r.container, v1.EventTypeWarning, "Failed", "Error: "+reason)
	if len(missing) > 0 {
		u.o.Event(r.p, r.container, v1.EventTypeWarning, "FailedToRetrieveImagePullSecret", fmt.Sprintf(
			"Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", strings.Join(missing, ", ")))
	}
	return &pod.ActionError{Reason: reason, Retry: showError, Err: err}
}

// explain returns the reason for a failed pull: runtimes begin errors of two
// kinds with it.
func explain(image string, cause error) (reason string, err error) {
	for _, kind := range []struct{ reason, why string }{
		{reasonUnavailable, "the registry is unavailable"},
		{reasonSignature, "the signature validation failed"},
	} {
		if rest, ok := strings.CutPrefix(cause.Error(), kind.reason); ok {
			return kind.reason, errors.New("image pull failed for " + image + " because " + kind.why + rest)
		}
	}
	return reasonPull, cause
}
