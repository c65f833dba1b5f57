package image

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/credential"
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
	used  int           // which of the credentials did it; below 0: none
	took  time.Duration // without the wait for other pulls
}

// join waits for the pull of an image, which it starts if nobody has.
func (u *Puller) join(ctx context.Context, image string, with []credential.Credential) (landed, error) {
	key := flightKey{image: image, credentials: fingerprint(with)}
	u.mu.Lock()
	f, ok := u.flights[key]
	if !ok {
		// The first to ask may be the first to go.
		pullCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{cancel: cancel, done: make(chan struct{})}
		u.flights[key] = f
		go u.fly(pullCtx, f, key, with)
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

// fly pulls. Until it is recorded by whom, it is on record that somebody did.
func (u *Puller) fly(ctx context.Context, f *flight, key flightKey, with []credential.Credential) {
	if f.err = u.intend(key.image); f.err == nil {
		f.landed, f.err = u.fetch(ctx, key.image, with)
		if f.err == nil {
			f.err = u.records.add(key.image, f.landed.image.Id, grantOf(with, f.landed.used))
		}
		u.endIntent(ctx, key.image)
	}
	u.mu.Lock()
	if u.flights[key] == f {
		delete(u.flights, key)
	}
	u.mu.Unlock()
	close(f.done)
}

func (u *Puller) fetch(ctx context.Context, image string, with []credential.Credential) (landed, error) {
	if u.slots != nil {
		select {
		case u.slots <- struct{}{}:
			defer func() { <-u.slots }()
		case <-ctx.Done():
			return landed{}, ctx.Err()
		}
	}
	if u.limit != nil {
		if err := u.limit.Wait(ctx); err != nil {
			return landed{}, err
		}
	}
	began := time.Now()
	used, err := u.ask(ctx, image, with)
	if err != nil {
		return landed{}, err
	}
	got, err := u.look(ctx, image)
	if err == nil && got == nil {
		err = fmt.Errorf("image %q is gone right after it was pulled", image)
	}
	return landed{image: got, used: used, took: time.Since(began)}, err
}

// ask asks the registry with each of the credentials until one will do, and
// returns which.
func (u *Puller) ask(ctx context.Context, image string, with []credential.Credential) (used int, err error) {
	if len(with) == 0 {
		return -1, u.askWith(ctx, image, nil)
	}
	var wrong []error
	for i, c := range with {
		err := u.askWith(ctx, image, c.Auth())
		if err == nil {
			return i, nil
		}
		wrong = append(wrong, err)
	}
	return -1, utilerrors.NewAggregate(wrong)
}

// askWith asks once. The code of an error that has no better one says nothing.
func (u *Puller) askWith(ctx context.Context, image string, auth *cri.AuthConfig) error {
	_, err := u.o.CRI.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: image}, Auth: auth})
	if s, ok := status.FromError(err); err != nil && ok && s.Code() == codes.Unknown {
		return errors.New(s.Message())
	}
	return err
}

// fingerprint tells credentials apart. It never leaves the process's memory.
func fingerprint(all []credential.Credential) string {
	var sum []byte
	for _, c := range all {
		sum = append(sum, c.Hash()...)
	}
	return string(sum)
}
