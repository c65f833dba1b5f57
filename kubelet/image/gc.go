package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A Store is the part of CRI's image service that collecting takes.
type Store interface {
	ListImages(context.Context, *cri.ListImagesRequest, ...grpc.CallOption) (*cri.ListImagesResponse, error)
	RemoveImage(context.Context, *cri.RemoveImageRequest, ...grpc.CallOption) (*cri.RemoveImageResponse, error)
	ImageFsInfo(context.Context, *cri.ImageFsInfoRequest, ...grpc.CallOption) (*cri.ImageFsInfoResponse, error)
}

// CollectorOptions are what a Collector is made of. All are required that do not
// say otherwise.
type CollectorOptions struct {
	CRI Store
	// Used returns the IDs and references of the images that something uses or is
	// about to: containers, dead ones too, and pods that are wanted.
	Used func(ctx context.Context) (map[string]bool, error)

	// High is how full, in percent, the file system of images is when the least
	// recently used of them go, until it is no fuller than Low. 100 is never.
	High, Low int32
	MinAge    time.Duration // an image stays for this long after it came
	MaxAge    time.Duration // an image goes when nobody used it for so long; 0 is never
	// Interval is how often that is looked at; 0 is five minutes.
	Interval time.Duration

	// Listed is told the images of the node, the largest first, whenever they are
	// listed. It must not block.
	Listed func([]*cri.Image)
	// Left is told the IDs of the images that are left after others were removed,
	// and when they were listed. May be nil.
	Left func(ids []string, listed time.Time) error
	// Event records an event of the node. It must not block.
	Event func(kind, reason, message string)
	// Collected is told why an image was removed: "age" or "space". May be nil.
	Collected func(reason string)
	// Round is told when a round of collecting begins: it returns the context for it,
	// and what is called with how it went. May be nil.
	Round func(context.Context) (context.Context, func(error))
	Log   *slog.Logger
}

// A Collector removes images that nobody uses, when they are old or the disk is
// full. It is safe for concurrent use.
type Collector struct {
	o     CollectorOptions
	poke  chan struct{} // capacity 1
	began time.Time     // when Run did

	turn   sync.Mutex // held while images are listed or collected
	failed bool       // the last time around

	mu    sync.Mutex // guards known, never held for long
	known map[string]record

	// free returns capacity and available bytes of the file system of a directory.
	free func(dir string) (capacity, available int64, err error)
}

// A record is what is known of one image.
type record struct{ detected, used time.Time }

// NewCollector returns a Collector that has seen no image yet.
func NewCollector(o CollectorOptions) *Collector {
	if o.Interval == 0 {
		o.Interval = 5 * time.Minute
	}
	if o.Left == nil {
		o.Left = func([]string, time.Time) error { return nil }
	}
	if o.Collected == nil {
		o.Collected = func(string) {}
	}
	if o.Round == nil {
		o.Round = func(ctx context.Context) (context.Context, func(error)) { return ctx, func(error) {} }
	}
	return &Collector{o: o, poke: make(chan struct{}, 1), known: map[string]record{}, free: statfs}
}

// settle is how long is waited for more images to come before they are listed.
const settle = time.Second

// Run lists images, when there are others than before, and collects them, until
// ctx ends.
func (c *Collector) Run(ctx context.Context) {
	c.began = time.Now()
	tick := time.NewTicker(c.o.Interval)
	defer tick.Stop()
	c.list(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.collect(ctx)
		case <-c.poke:
			select {
			case <-ctx.Done():
				return
			case <-time.After(settle):
			}
			c.list(ctx)
		}
	}
}

// Note says that an image was looked up for a container just now. One that was
// not known is listed soon.
func (c *Collector) Note(id string) {
	c.mu.Lock()
	r, known := c.known[id]
	if known {
		r.used = time.Now()
		c.known[id] = r
	}
	c.mu.Unlock()
	if known {
		return
	}
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// list looks at the images without removing any.
func (c *Collector) list(ctx context.Context) {
	c.turn.Lock()
	defer c.turn.Unlock()
	if _, err := c.detect(ctx, time.Now()); err != nil && ctx.Err() == nil {
		c.o.Log.LogAttrs(ctx, slog.LevelWarn, "list images", slog.Any("err", err))
	}
}

// collect removes what is too old, and what there is no room for. Of failures it
// tells from the second in a row on: the first may only be too early.
func (c *Collector) collect(ctx context.Context) {
	c.turn.Lock()
	defer c.turn.Unlock()
	ctx, end := c.o.Round(ctx)
	err := c.once(ctx, time.Now())
	end(err)
	if err != nil && ctx.Err() == nil {
		c.o.Log.LogAttrs(ctx, slog.LevelWarn, "collect images", slog.Any("err", err))
		if c.failed {
			c.o.Event(v1.EventTypeWarning, "ImageGCFailed", err.Error())
		}
	}
	c.failed = err != nil
}

func (c *Collector) once(ctx context.Context, now time.Time) error {
	all, err := c.detect(ctx, now)
	if err != nil {
		return err
	}
	all, err = c.freeOld(ctx, all, now)
	if err != nil || c.o.High >= 100 {
		return err
	}
	capacity, available, err := c.room(ctx)
	if err != nil {
		return err
	}
	used := 100 - int32(available*100/capacity)
	if used < c.o.High {
		return nil
	}
	wanted := capacity*int64(100-c.o.Low)/100 - available
	freed, err := c.freeSpace(ctx, all, wanted, now)
	if err = errors.Join(err, c.left(now)); err != nil || freed >= wanted {
		return err
	}
	message := fmt.Sprintf("Insufficient free disk space on the node's image filesystem (%d%% of %s used). "+
		"Failed to free sufficient space by deleting unused images (freed %d bytes). "+
		"Investigate disk usage, as it could be used by active images, logs, volumes, or other data.",
		used, size(capacity), freed)
	c.o.Event(v1.EventTypeWarning, "FreeDiskSpaceFailed", message)
	return errors.New(message)
}

// FreeAll removes all images that nobody uses and that are not young.
func (c *Collector) FreeAll(ctx context.Context) error {
	c.turn.Lock()
	defer c.turn.Unlock()
	now := time.Now()
	all, err := c.detect(ctx, now)
	if err != nil {
		return err
	}
	_, err = c.freeSpace(ctx, all, math.MaxInt64, now)
	return errors.Join(err, c.left(now))
}

// room returns how large the file system of images is and what of it is left.
func (c *Collector) room(ctx context.Context) (capacity, available int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	info, err := c.o.CRI.ImageFsInfo(ctx, &cri.ImageFsInfoRequest{})
	if err != nil {
		return 0, 0, fmt.Errorf("ask where images are: %w", err)
	}
	if len(info.ImageFilesystems) == 0 {
		return 0, 0, errors.New("ask where images are: the runtime does not know")
	}
	capacity, available, err = c.free(info.ImageFilesystems[0].GetFsId().GetMountpoint())
	if err == nil && capacity == 0 {
		err = errors.New("invalid capacity 0 on image filesystem")
		c.o.Event(v1.EventTypeWarning, "InvalidDiskCapacity", err.Error())
	}
	return capacity, min(available, capacity), err
}

func statfs(dir string) (capacity, available int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("measure file system of images %s: %w", dir, err)
	}
	return int64(fs.Blocks) * fs.Bsize, int64(fs.Bavail) * fs.Bsize, nil
}

// size puts a number of bytes into words.
func size(bytes int64) string {
	n := float64(bytes)
	for _, unit := range []string{"KiB", "MiB", "GiB"} {
		if n /= 1024; n < 1024 {
			return fmt.Sprintf("%.1f %s", n, unit)
		}
	}
	return fmt.Sprintf("%.1f TiB", n/1024)
}
