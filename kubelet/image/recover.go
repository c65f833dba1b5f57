package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/credential"
)

// intend records that a pull begins.
func (u *Puller) intend(image string) error {
	if err := u.records.intend(image); err != nil {
		return fmt.Errorf("Failed to record image pull intent for container image %q: %w", image, err) //nolint:staticcheck // upstream's words
	}
	return nil
}

// endIntent records that a pull is over.
func (u *Puller) endIntent(ctx context.Context, image string) {
	if err := u.records.end(image); err != nil {
		u.o.Log.LogAttrs(ctx, slog.LevelWarn, "end record of a pull", slog.String("image", image), slog.Any("err", err))
	}
}

// recordPulled records that the image is the pod's: others that waited for the
// same pull had other secrets that held the same.
func (u *Puller) recordPulled(ctx context.Context, r request, got landed, with []credential.Credential) {
	if err := u.records.add(r.image, got.image.Id, grantOf(with, got.used)); err != nil {
		u.o.Log.LogAttrs(ctx, slog.LevelWarn, "record pulled image", slog.String("image", r.image), slog.Any("err", err))
	}
}

// Prune forgets who pulled images that are not there any more. It is given the
// IDs of those that are, and when they were listed.
func (u *Puller) Prune(ids []string, listed time.Time) error {
	if u.records == nil {
		return nil
	}
	there := map[string]bool{}
	for _, id := range ids {
		there[id] = true
	}
	return u.records.prune(there, listed)
}

// recover deals with pulls that an earlier run began: an image that came by one
// was pulled, by whom is not known.
func (u *Puller) recover(ctx context.Context) {
	images := u.records.left()
	if len(images) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	list, err := u.o.CRI.ListImages(ctx, &cri.ListImagesRequest{})
	if err != nil { // its intent says as much for now
		u.o.Log.LogAttrs(ctx, slog.LevelWarn, "list images", slog.Any("err", err))
		return
	}
	var wrong []error
	for _, there := range list.Images {
		for _, name := range images {
			if !slices.Contains(there.RepoTags, name) && !slices.Contains(there.RepoDigests, name) {
				continue
			}
			err := u.records.add(name, there.Id, kubeletv1beta1.ImagePullCredentials{})
			if err == nil {
				err = remove(u.records.intentPath(name))
			}
			wrong = append(wrong, err)
		}
	}
	if err := errors.Join(wrong...); err != nil {
		u.o.Log.LogAttrs(ctx, slog.LevelWarn, "record images of an earlier run", slog.Any("err", err))
	}
	u.records.settled()
}
