package fake

import (
	"context"
	"slices"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// SetImages makes these, by name, the only images there are before any pull.
// Without it there is every image anyone asks for.
func (c *CRI) SetImages(names ...string) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.images = []*cri.Image{}
	for _, name := range names {
		c.s.images = append(c.s.images, imageOf(name))
	}
}

// idPrefix makes the ID of an image from its name.
const idPrefix = "id-of-"

func imageOf(name string) *cri.Image {
	name = strings.TrimPrefix(name, idPrefix)
	return &cri.Image{Id: idPrefix + name, RepoTags: []string{name}, RepoDigests: []string{name + "@digest"}, Size: 1 << 20}
}

// image returns an image by name or ID, or nil. mu must be held.
func (s *server) image(name string) *cri.Image {
	if s.images == nil {
		return imageOf(name)
	}
	for _, i := range s.images {
		if i.Id == name || slices.Contains(i.RepoTags, name) {
			return i
		}
	}
	return nil
}

// ImageStatus tells of an image, or of none.
func (s *server) ImageStatus(_ context.Context, r *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &cri.ImageStatusResponse{Image: s.image(r.GetImage().GetImage())}, nil
}

// ListImages lists the images there are.
func (s *server) ListImages(context.Context, *cri.ListImagesRequest) (*cri.ListImagesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &cri.ListImagesResponse{Images: slices.Clone(s.images)}, nil
}

// PullImage makes an image be there. Fail and Delay make it go otherwise.
func (s *server) PullImage(_ context.Context, r *cri.PullImageRequest) (*cri.PullImageResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.GetImage().GetImage()
	if s.image(name) == nil {
		s.images = append(s.images, imageOf(name))
	}
	return &cri.PullImageResponse{ImageRef: imageOf(name).Id}, nil
}
