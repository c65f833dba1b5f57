package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A candidate is an image that nobody uses.
type candidate struct {
	record
	image *cri.Image
}

// Why images are removed, as metrics name it.
const (
	reasonAge   = "age"
	reasonSpace = "space"
)

// detect lists the images, notes which are used, and returns those that are not
// and may go: the one that was used the longest ago first.
func (c *Collector) detect(ctx context.Context, now time.Time) ([]candidate, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	resp, err := c.o.CRI.ListImages(ctx, &cri.ListImagesRequest{})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	used, err := c.o.Used(ctx)
	if err != nil {
		return nil, fmt.Errorf("find out which images are used: %w", err)
	}
	idle := c.note(resp.Images, used, now)
	slices.SortStableFunc(idle, func(a, b candidate) int {
		return cmp.Or(a.used.Compare(b.used), a.detected.Compare(b.detected))
	})
	c.tell(resp.Images)
	return idle, nil
}

// note notes what there is and what of it is used, and returns the rest.
func (c *Collector) note(images []*cri.Image, used map[string]bool, now time.Time) (idle []candidate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := make(map[string]record, len(images))
	for _, i := range images {
		r, ok := c.known[i.Id]
		if !ok {
			r.detected = now
		}
		if isUsed(i, used) {
			r.used = now
		} else if !i.Pinned {
			idle = append(idle, candidate{r, i})
		}
		known[i.Id] = r
	}
	c.known = known
	return idle
}

// wantedSince reports whether a container asked for an image since now.
func (c *Collector) wantedSince(id string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.known[id].used.Before(now)
}

// tell passes on the images, the largest first.
func (c *Collector) tell(images []*cri.Image) {
	all := slices.SortedStableFunc(slices.Values(images), func(a, b *cri.Image) int { return cmp.Compare(b.Size, a.Size) })
	c.o.Listed(all)
}

func isUsed(i *cri.Image, used map[string]bool) bool {
	if used[i.Id] {
		return true
	}
	named := func(ref string) bool { return used[ref] }
	return slices.ContainsFunc(i.RepoTags, named) || slices.ContainsFunc(i.RepoDigests, named)
}

// freeOld removes images that nobody has used for too long, as soon as boot runs
// for long enough to know. It returns the others.
func (c *Collector) freeOld(ctx context.Context, all []candidate, now time.Time) ([]candidate, error) {
	if c.o.MaxAge == 0 || now.Sub(c.began) <= c.o.MaxAge {
		return all, nil
	}
	var rest []candidate
	var failed []error
	for _, i := range all {
		if now.Sub(i.used) <= c.o.MaxAge || c.wantedSince(i.image.Id, now) {
			rest = append(rest, i)
			continue
		}
		failed = append(failed, c.remove(ctx, i, reasonAge))
	}
	return rest, errors.Join(append(failed, c.left(now))...)
}

// left tells what is left, where records of images are kept.
func (c *Collector) left(listed time.Time) error {
	c.mu.Lock()
	ids := slices.Collect(maps.Keys(c.known))
	c.mu.Unlock()
	return c.o.Left(ids, listed)
}

// freeSpace removes images until so many bytes are freed. Young ones stay: they
// may have come for a container that is about to be made.
func (c *Collector) freeSpace(ctx context.Context, all []candidate, wanted int64, now time.Time) (freed int64, err error) {
	var failed []error
	for _, i := range all {
		if freed >= wanted {
			break
		}
		if now.Sub(i.detected) < c.o.MinAge || c.wantedSince(i.image.Id, now) {
			continue
		}
		if err := c.remove(ctx, i, reasonSpace); err != nil {
			failed = append(failed, err)
			continue
		}
		freed += int64(i.image.Size)
	}
	if err := errors.Join(failed...); err != nil {
		return freed, fmt.Errorf("free images, %d bytes so far: %w", freed, err)
	}
	return freed, nil
}

// remove removes an image by its ID, with all its names.
func (c *Collector) remove(ctx context.Context, i candidate, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	_, err := c.o.CRI.RemoveImage(ctx, &cri.RemoveImageRequest{Image: &cri.ImageSpec{
		Image: i.image.Id, RuntimeHandler: i.image.GetSpec().GetRuntimeHandler(),
	}})
	if err != nil {
		return fmt.Errorf("remove image %s: %w", i.image.Id, err)
	}
	c.o.Log.LogAttrs(ctx, slog.LevelInfo, "removed an image that nobody uses", slog.String("image", strings.Join(i.image.RepoTags, " ")),
		slog.String("id", i.image.Id), slog.Uint64("size", i.image.Size), slog.String("reason", reason))
	c.mu.Lock()
	delete(c.known, i.image.Id)
	c.mu.Unlock()
	c.o.Collected(reason)
	return nil
}
