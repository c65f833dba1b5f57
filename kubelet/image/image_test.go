package image_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/image"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime/fake"
)

// A bench is a puller on a fake runtime without images, and what it told.
type bench struct {
	*testing.T
	fake   *fake.CRI
	o      image.Options
	puller *image.Puller

	mu     sync.Mutex
	events []string
}

func run(t *testing.T, set func(*image.Options), test func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, fake: fake.New()}
		b.fake.SetImages()
		b.o = image.Options{
			CRI: b.fake.Images(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
			Event: func(_ *v1.Pod, _, kind, reason, message string) {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.events = append(b.events, kind+" "+reason+": "+message)
			},
		}
		if set != nil {
			set(&b.o)
		}
		b.puller = image.New(b.o)
		test(b)
	})
}

func (b *bench) ensure(ctx context.Context, name string, policy v1.PullPolicy) (*cri.Image, error) {
	return b.puller.Ensure(ctx, &v1.Pod{}, &v1.Container{Image: name, ImagePullPolicy: policy})
}

// told returns the events so far and forgets them.
func (b *bench) told() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := strings.Join(b.events, "\n")
	b.events = nil
	return text
}

func TestPolicy(t *testing.T) {
	for _, c := range []struct {
		name   string
		image  string
		policy v1.PullPolicy
		there  bool
		reason string // of the error
		pulls  int
		event  string // but for that it is pulled
	}{
		{
			"latest is pulled", "a:latest", "", true, "", 1,
			`Normal Pulled: Successfully pulled image "a:latest" in 0s (0s including waiting). Image size: 1048576 bytes.`,
		},
		{
			"no tag means latest", "reg.test:5000/a", "", true, "", 1,
			`Normal Pulled: Successfully pulled image "reg.test:5000/a" in 0s (0s including waiting). Image size: 1048576 bytes.`,
		},
		{"a tag is not pulled again", "a:1", "", true, "", 0, `Normal Pulled: Container image "a:1" already present on machine and can be accessed by the pod`},
		{
			"a digest is not pulled again", "a@sha256:" + strings.Repeat("a", 64), "", true, "", 0,
			`Normal Pulled: Container image "a@sha256:` + strings.Repeat("a", 64) + `" already present on machine and can be accessed by the pod`,
		},
		{
			"a tag is pulled once", "a:1", "", false, "", 1,
			`Normal Pulled: Successfully pulled image "a:1" in 0s (0s including waiting). Image size: 1048576 bytes.`,
		},
		{
			"Always", "a:1", v1.PullAlways, true, "", 1,
			`Normal Pulled: Successfully pulled image "a:1" in 0s (0s including waiting). Image size: 1048576 bytes.`,
		},
		{"IfNotPresent", "a:latest", v1.PullIfNotPresent, true, "", 0, `Normal Pulled: Container image "a:latest" already present on machine and can be accessed by the pod`},
		{"Never, there", "a:latest", v1.PullNever, true, "", 0, `Normal Pulled: Container image "a:latest" already present on machine and can be accessed by the pod`},
		{
			"Never, not there", "a:1", v1.PullNever, false, "ErrImageNeverPull", 0,
			"Warning ErrImageNeverPull: Container image \"a:1\" is not present with pull policy of Never\nWarning Failed: Error: ErrImageNeverPull",
		},
		{
			"no name", "A:B:C", v1.PullAlways, false, "InvalidImageName", 0,
			"Warning InspectFailed: Failed to apply default image tag \"A:B:C\": couldn't parse image name \"A:B:C\": " +
				"invalid reference format: repository name (library/A) must be lowercase\nWarning Failed: Error: InvalidImageName",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, nil, func(b *bench) {
				if c.there {
					b.fake.SetImages(c.image)
				}
				got, err := b.ensure(b.Context(), c.image, c.policy)
				var failed *pod.ActionError
				if errors.As(err, &failed) != (c.reason != "") || failed != nil && failed.Reason != c.reason {
					t.Errorf("error %v, want reason %q", err, c.reason)
				}
				if err == nil && !slices.Contains(got.RepoTags, c.image) {
					t.Errorf("got %v", got)
				}
				if n := b.fake.Count("PullImage"); n != c.pulls {
					t.Errorf("%d pulls, want %d", n, c.pulls)
				}
				if got := strings.TrimPrefix(b.told(), fmt.Sprintf("Normal Pulling: Pulling image %q\n", c.image)); got != c.event {
					t.Errorf("events\n%s\nwant\n%s", got, c.event)
				}
			})
		})
	}
}

// ErrImagePull is shown for a second, then ImagePullBackOff, and after 10 s,
// 20 s … 300 s the next pull fails or brings the image.
func TestBackOff(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.fake.Fail("PullImage", 7, errors.New("no such host"))
		for _, wait := range []int{10, 20, 40, 80, 160, 300, 300} {
			_, err := b.ensure(b.Context(), "a:1", "")
			expect(t, err, "ErrImagePull", time.Second)
			if got, want := b.told(), "Normal Pulling: Pulling image \"a:1\"\nWarning Failed: Failed to pull image \"a:1\": no such host\nWarning Failed: Error: ErrImagePull"; got != want {
				t.Errorf("events\n%s\nwant\n%s", got, want)
			}
			time.Sleep(time.Second)
			_, err = b.ensure(b.Context(), "a:1", "")
			left := time.Duration(wait-1) * time.Second
			expect(t, err, "ImagePullBackOff", left)
			if want := `Back-off pulling image "a:1": ErrImagePull: no such host`; err.Error() != want {
				t.Errorf("error %q, want %q", err, want)
			}
			if got, want := b.told(), "Normal BackOff: Back-off pulling image \"a:1\"\nWarning Failed: Error: ImagePullBackOff"; got != want {
				t.Errorf("events\n%s\nwant\n%s", got, want)
			}
			time.Sleep(left)
		}
		if _, err := b.ensure(b.Context(), "a:1", ""); err != nil {
			t.Error(err)
		}
		if n := b.fake.Count("PullImage"); n != 8 {
			t.Errorf("%d pulls, want 8", n)
		}
		b.fake.SetImages()
		b.fake.Fail("PullImage", 1, errors.New("again"))
		_, err := b.ensure(b.Context(), "a:1", "")
		expect(t, err, "ErrImagePull", time.Second)
		time.Sleep(time.Second)
		_, err = b.ensure(b.Context(), "a:1", "")
		expect(t, err, "ImagePullBackOff", 9*time.Second) // success made it start over
		b.fake.SetImages("a:1")
		if _, err := b.ensure(b.Context(), "a:1", ""); err != nil {
			t.Errorf("the image came by other means: %v", err)
		}
	})
}

func expect(t *testing.T, err error, reason string, retry time.Duration) {
	t.Helper()
	var failed *pod.ActionError
	if !errors.As(err, &failed) || failed.Reason != reason || failed.Retry != retry {
		t.Errorf("error %#v, want reason %s, retry in %s", err, reason, retry)
	}
}

func TestInspectError(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.fake.Fail("ImageStatus", 1, errors.New("broken"))
		_, err := b.ensure(b.Context(), "a:1", "")
		expect(t, err, "ImageInspectError", 0)
	})
}

// Any number of pods wait for one pull; it goes on while one of them does.
func TestOnePullForAll(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.fake.Delay("PullImage", 1, time.Minute)
		ctx, cancel := context.WithCancel(b.Context())
		var all sync.WaitGroup
		all.Go(func() {
			_, err := b.ensure(ctx, "a:1", "")
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the one that left: %v", err)
			}
		})
		synctest.Wait()
		for range 3 {
			all.Go(func() {
				if _, err := b.ensure(b.Context(), "a:1", ""); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
		if n := b.fake.Count("PullImage"); n != 1 {
			t.Errorf("%d pulls", n)
		}
		if strings.Contains(b.told(), "Warning") {
			t.Error("leaving is no failure")
		}
	})
}

// A pull nobody waits for is abandoned; that is no failure to back off from.
func TestAbandoned(t *testing.T) {
	run(t, nil, func(b *bench) {
		b.fake.Delay("PullImage", 1, time.Hour)
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if _, err := b.ensure(ctx, "a:1", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := b.ensure(b.Context(), "a:1", ""); err != nil {
			t.Errorf("the next: %v", err)
		}
		if d := time.Since(began); d != time.Minute {
			t.Errorf("took %s", d)
		}
	})
}

func TestParallel(t *testing.T) {
	for _, c := range []struct {
		name   string
		set    func(*image.Options)
		minute int // until four pulls of a minute each are done
	}{
		{"no limit", nil, 1},
		{"serial", func(o *image.Options) { o.Serial, o.MaxParallel = true, 5 }, 4},
		{"two at a time", func(o *image.Options) { o.MaxParallel = 2 }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, c.set, func(b *bench) {
				b.fake.Delay("PullImage", 4, time.Minute)
				began := time.Now()
				var all sync.WaitGroup
				for _, name := range []string{"a:1", "b:1", "c:1", "d:1"} {
					all.Go(func() {
						if _, err := b.ensure(b.Context(), name, ""); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if d := time.Since(began); d != time.Duration(c.minute)*time.Minute {
					t.Errorf("took %s, want %d min", d, c.minute)
				}
			})
		})
	}
}

func TestWaitsForImport(t *testing.T) {
	for _, c := range []struct {
		name string
		brings,
		hangs bool
		pulls int
		takes time.Duration
	}{
		{"a bundle brings it", true, false, 0, time.Minute},
		{"no bundle has it", false, false, 1, time.Minute},
		{"the import hangs", false, true, 1, 5 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b *bench
			importing := func(_ context.Context, name string) error {
				if name != "docker.io/library/a:1" {
					t.Errorf("asked for %q", name)
				}
				if c.hangs {
					time.Sleep(5 * time.Minute)
					return errors.New("no import gets on")
				}
				time.Sleep(time.Minute)
				if c.brings {
					b.fake.SetImages("a:1")
				}
				return nil
			}
			run(t, func(o *image.Options) { o.Importing = importing }, func(in *bench) {
				b = in
				began := time.Now()
				if _, err := b.ensure(b.Context(), "a:1", ""); err != nil {
					t.Error(err)
				}
				if d := time.Since(began); d != c.takes {
					t.Errorf("took %s, want %s", d, c.takes)
				}
				if n := b.fake.Count("PullImage"); n != c.pulls {
					t.Errorf("%d pulls, want %d", n, c.pulls)
				}
				began = time.Now()
				if _, err := b.ensure(b.Context(), "a:1", ""); err != nil || time.Since(began) > 0 {
					t.Errorf("again: %v after %s", err, time.Since(began))
				}
			})
		})
	}
}
