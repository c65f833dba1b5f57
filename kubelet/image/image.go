// Package image makes sure that the images of containers are on the node: by
// pull policy, once per image at a time, not before local bundles had their
// chance, and after failures ever more slowly. It remembers with whose
// credentials images came, so that a pod gets no image by somebody else's
// (KEP-2535). It decides whether and when to pull; the pulling itself, and
// everything about registries, is the runtime's.
package image

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/credential"
)

// A Service is the part of CRI's image service that pulling takes.
type Service interface {
	ImageStatus(context.Context, *cri.ImageStatusRequest, ...grpc.CallOption) (*cri.ImageStatusResponse, error)
	PullImage(context.Context, *cri.PullImageRequest, ...grpc.CallOption) (*cri.PullImageResponse, error)
	ListImages(context.Context, *cri.ListImagesRequest, ...grpc.CallOption) (*cri.ListImagesResponse, error)
}

// Options are what a Puller is made of.
type Options struct {
	CRI Service
	// Serial pulls one image after the other; else MaxParallel at a time, where
	// 0 means no limit.
	Serial      bool
	MaxParallel int
	// QPS and Burst bound how many pulls begin in a second; 0 means no limit.
	QPS   float32
	Burst int
	// Importing waits while a local bundle may still bring the image, which it
	// is given by its full name with domain and tag. It returns once the image
	// is there or cannot come that way any more; an error says that no bundle gets
	// on, so that the network is the better hope. Nil where there are no bundles.
	Importing func(ctx context.Context, image string) error
	// Credentials returns what to try at the registry of an image, the best
	// first, and the names of secrets that could not be had. The image is named
	// in full, without tag and digest. Nil means that every registry is asked
	// without.
	Credentials func(ctx context.Context, p *v1.Pod, image string) (found []credential.Credential, missing []string)
	// RecordsDir keeps the records of who pulled what: /var/lib/kubelet/image_manager.
	// Where it is empty nothing is recorded and nobody is asked.
	RecordsDir string
	Verify     Verification
	// Event records what happened to a container of a pod, or, where that is "",
	// to the pod. It must not block.
	Event func(p *v1.Pod, container, eventType, reason, message string)
	Log   *slog.Logger
}

// A Puller makes sure that images are there. It is safe for concurrent use.
type Puller struct {
	o       Options
	slots   chan struct{}           // one element per pull under way; nil where there is no limit
	limit   flowcontrol.RateLimiter // nil where there is none
	records *records                // nil where none are kept

	mu       sync.Mutex // guards what follows
	flights  map[flightKey]*flight
	failures map[attempt]failure
}

// An attempt is that of one pod at one image: what it is refused, another may
// get.
type attempt struct {
	pod   types.UID
	image string
}

// New returns a Puller that has pulled nothing yet.
func New(o Options) *Puller {
	p := &Puller{o: o, flights: map[flightKey]*flight{}, failures: map[attempt]failure{}}
	limit := o.MaxParallel
	if o.Serial {
		limit = 1
	}
	if limit > 0 {
		p.slots = make(chan struct{}, limit)
	}
	if o.QPS > 0 {
		p.limit = flowcontrol.NewTokenBucketRateLimiter(o.QPS, max(o.Burst, 1))
	}
	if o.RecordsDir != "" {
		p.records = newRecords(o.RecordsDir)
	}
	return p
}

// lookTimeout bounds a look at an image.
const lookTimeout = 2 * time.Minute

// Reasons of failures, as upstream spells them in the waiting state.
const (
	reasonInvalid     = "InvalidImageName"
	reasonInspect     = "ImageInspectError"
	reasonNever       = "ErrImageNeverPull"
	reasonPull        = "ErrImagePull"
	reasonBackOff     = "ImagePullBackOff"
	reasonUnavailable = "RegistryUnavailable"
	reasonSignature   = "SignatureValidationFailed"
)
