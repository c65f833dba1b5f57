package image

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A flightKey is what makes two pulls the same: with other credentials another
// answer may come.
type flightKey struct{ image, credentials string }

// A flight is one pull under way that any number of containers wait for. It is
// abandoned when the last of them no longer does.
type flight struct {
	cancel  context.CancelFunc
	waiting int           // guarded by Puller.mu
	done    chan struct{} // closed once landed and err are set
	landed  landed
	err     error
}

// landed is what a flight brought.
type landed struct {
	image *cri.Image
	took  time.Duration // without the wait for other pulls
}

// join waits for the pull of an image, which it starts if nobody has.
func (u *Puller) join(ctx context.Context, p *v1.Pod, image string) (landed, error) {
	var auths []*cri.AuthConfig
	if u.o.Credentials != nil {
		auths = u.o.Credentials(p, image)
	}
	key := flightKey{image: image, credentials: fingerprint(auths)}
	u.mu.Lock()
	f, ok := u.flights[key]
	if !ok {
		// The first to ask may be the first to go.
		pullCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{cancel: cancel, done: make(chan struct{})}
		u.flights[key] = f
		go u.fly(pullCtx, f, key, auths)
	}
	f.waiting++
	u.mu.Unlock()
	defer u.leave(f, key)
	select {
	case <-f.done:
		return f.landed, f.err
	case <-ctx.Done():
		return landed{}, ctx.Err()
	}
}

// leave ends the wait of one. A flight nobody waits for is abandoned, and who
// comes next starts another.
func (u *Puller) leave(f *flight, key flightKey) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	f.cancel()
	if u.flights[key] == f {
		delete(u.flights, key)
	}
}

// fly pulls, and keeps whether that worked, unless it was abandoned.
func (u *Puller) fly(ctx context.Context, f *flight, key flightKey, auths []*cri.AuthConfig) {
	f.landed, f.err = u.fetch(ctx, key.image, auths)
	u.mu.Lock()
	if u.flights[key] == f {
		delete(u.flights, key)
		u.note(key.image, f.err, time.Now())
	}
	u.mu.Unlock()
	close(f.done)
}

func (u *Puller) fetch(ctx context.Context, image string, auths []*cri.AuthConfig) (landed, error) {
	if u.slots != nil {
		select {
		case u.slots <- struct{}{}:
			defer func() { <-u.slots }()
		case <-ctx.Done():
			return landed{}, ctx.Err()
		}
	}
	began := time.Now()
	if err := u.ask(ctx, image, auths); err != nil {
		return landed{}, err
	}
	got, err := u.look(ctx, image)
	if err == nil && got == nil {
		err = fmt.Errorf("image %q is gone right after it was pulled", image)
	}
	return landed{image: got, took: time.Since(began)}, err
}

// ask asks the registry with each of the credentials until one will do.
func (u *Puller) ask(ctx context.Context, image string, auths []*cri.AuthConfig) error {
	if len(auths) == 0 {
		auths = []*cri.AuthConfig{nil}
	}
	var err error
	for _, auth := range auths {
		if _, err = u.o.CRI.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: image}, Auth: auth}); err == nil {
			return nil
		}
	}
	return err
}

// fingerprint tells credentials apart. It never leaves the process's memory.
func fingerprint(auths []*cri.AuthConfig) string {
	var all []byte
	for _, a := range auths {
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(a)
		if err != nil { // strings that are no UTF-8: no registry takes them
			continue
		}
		all = append(fmt.Appendf(all, "%d:", len(data)), data...)
	}
	return string(all)
}
