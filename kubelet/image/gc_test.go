package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A shelf is a runtime that only has images, on a disk of 1000 bytes.
type shelf struct {
	*testing.T
	c *Collector

	mu     sync.Mutex // guards what follows
	images []*cri.Image
	used   map[string]bool
	full   int64 // bytes that are no images
	refuse error // to remove
	said   []string
}

func newShelf(t *testing.T, images ...*cri.Image) *shelf {
	s := &shelf{T: t, images: images, used: map[string]bool{}}
	s.c = NewCollector(CollectorOptions{
		CRI: s, Used: func(context.Context) (map[string]bool, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return maps.Clone(s.used), nil
		},
		High: 80, Low: 50, MinAge: 2 * time.Minute,
		Listed: func(all []*cri.Image) {
			var ids []string
			for _, i := range all {
				ids = append(ids, i.Id)
			}
			s.say("list %v", ids)
		},
		Left:      func(ids []string, _ time.Time) error { s.say("%d are left", len(ids)); return nil },
		Event:     func(_, reason, message string) { s.say("%s: %s", reason, message) },
		Collected: func(reason string) { s.say("for %s", reason) },
		Log:       slog.New(slog.DiscardHandler),
	})
	s.c.free = func(string) (int64, int64, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		used := s.full
		for _, i := range s.images {
			used += int64(i.Size)
		}
		return 1000, 1000 - used, nil
	}
	return s
}

func (s *shelf) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, fmt.Sprintf(format, args...))
}

// set changes the world.
func (s *shelf) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *shelf) want(what string, said ...string) {
	s.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got, want := strings.Join(s.said, "; "), strings.Join(said, "; "); got != want {
		s.Errorf("%s: %q, want %q", what, got, want)
	}
	s.said = nil
}

func (s *shelf) run() {
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.c.Run(ctx)
	}()
	s.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
}

func (s *shelf) ListImages(context.Context, *cri.ListImagesRequest, ...grpc.CallOption) (*cri.ListImagesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &cri.ListImagesResponse{Images: slices.Clone(s.images)}, nil
}

func (s *shelf) ImageFsInfo(context.Context, *cri.ImageFsInfoRequest, ...grpc.CallOption) (*cri.ImageFsInfoResponse, error) {
	return &cri.ImageFsInfoResponse{ImageFilesystems: []*cri.FilesystemUsage{{FsId: &cri.FilesystemIdentifier{Mountpoint: "/images"}}}}, nil
}

func (s *shelf) RemoveImage(_ context.Context, r *cri.RemoveImageRequest, _ ...grpc.CallOption) (*cri.RemoveImageResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != nil {
		return nil, s.refuse
	}
	for n, i := range s.images {
		if i.Id == r.Image.Image {
			s.images = append(s.images[:n:n], s.images[n+1:]...)
			s.said = append(s.said, "remove "+i.Id)
		}
	}
	return &cri.RemoveImageResponse{}, nil
}

func onShelf(id string, size uint64, names ...string) *cri.Image {
	return &cri.Image{Id: id, Size: size, RepoTags: names}
}

func TestCollectWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pinned := onShelf("pinned", 10)
		pinned.Pinned = true
		s := newShelf(t, onShelf("once", 100), onShelf("never", 90), onShelf("running", 150), onShelf("named", 110, "docker.io/library/x:1"), pinned)
		s.used = map[string]bool{"running": true, "docker.io/library/x:1": true, "once": true}
		s.run()
		s.want("all are listed by size", "list [running named once never pinned]")
		s.set(func() { delete(s.used, "once") })
		time.Sleep(6 * time.Minute)
		s.want("there is room for all", "list [running named once never pinned]")
		s.set(func() { s.full = 340 }) // in all 800
		time.Sleep(5 * time.Minute)
		s.want("those that nobody uses go, the longest unused first, but not the pinned one, and it does not do",
			"list [running named once never pinned]", "remove never", "for space", "remove once", "for space", "3 are left",
			"FreeDiskSpaceFailed: Insufficient free disk space on the node's image filesystem (80% of 1.0 KiB used). "+
				"Failed to free sufficient space by deleting unused images (freed 190 bytes). "+
				"Investigate disk usage, as it could be used by active images, logs, volumes, or other data.")
		time.Sleep(5 * time.Minute)
		s.want("and there is room again", "list [running named pinned]")
	})
}

func TestCollectOnlyWhatIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, onShelf("a", 400), onShelf("b", 399))
		s.run()
		time.Sleep(4 * time.Minute)
		s.c.Note("a") // for a container that is about to be made
		s.set(func() { s.full = 100 })
		time.Sleep(time.Minute)
		s.want("one is enough", "list [a b]", "list [a b]", "remove b", "for space", "1 are left")
	})
}

func TestYoungImagesStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, onShelf("old", 100))
		s.run()
		time.Sleep(time.Minute)
		s.set(func() { s.images = append(s.images, onShelf("young", 100)) })
		s.c.Note("young")
		time.Sleep(2 * time.Second)
		s.want("it is listed soon", "list [old]", "list [old young]")
		time.Sleep(90 * time.Second)
		if err := s.c.FreeAll(t.Context()); err != nil {
			t.Error(err)
		}
		s.want("only the old one goes", "list [old young]", "remove old", "for space", "1 are left")
	})
}

func TestImagesOfOldAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, onShelf("idle", 1), onShelf("used", 2))
		s.c.o.MaxAge = 12 * time.Minute
		s.used["used"], s.used["idle"] = true, true
		s.run()
		s.set(func() { delete(s.used, "idle") })
		time.Sleep(11 * time.Minute)
		s.want("not yet", "list [used idle]", "list [used idle]", "list [used idle]")
		time.Sleep(5 * time.Minute)
		s.want("now", "list [used idle]", "remove idle", "for age", "1 are left")
	})
}

func TestCollectFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, onShelf("a", 900))
		var rounds []error
		s.c.o.Round = func(ctx context.Context) (context.Context, func(error)) {
			return ctx, func(err error) { rounds = append(rounds, err) }
		}
		s.refuse = errors.New("read-only file system")
		s.run()
		time.Sleep(6 * time.Minute)
		s.want("the first failure is not told", "list [a]", "list [a]", "1 are left")
		time.Sleep(5 * time.Minute)
		s.want("the second is", "list [a]", "1 are left",
			"ImageGCFailed: free images, 0 bytes so far: remove image a: read-only file system")
		if len(rounds) != 2 || !errors.Is(rounds[0], s.refuse) || !errors.Is(rounds[1], s.refuse) {
			t.Errorf("rounds ended with %v", rounds)
		}
	})
}
