package image

import "time"

// After a pull failed the image is left alone for firstBackOff, then twice as
// long each time, up to longestBackOff.
const (
	firstBackOff   = 10 * time.Second
	longestBackOff = 300 * time.Second
)

// showError is how long the error itself is shown before the next try finds
// that it has to wait.
const showError = time.Second

// A failure is the last pull of an image, if it failed.
type failure struct {
	err  error
	next time.Time // not to be pulled before
	wait time.Duration
}

// backOff returns for how long an image is still left alone, and why.
func (u *Puller) backOff(image string, now time.Time) (left time.Duration, cause error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.failures[image]
	return f.next.Sub(now), f.err
}

// note keeps the outcome of a pull. An image nobody asked for in a long time
// starts over. mu must be held.
func (u *Puller) note(image string, err error, now time.Time) {
	for name, f := range u.failures {
		if now.Sub(f.next) > 2*longestBackOff {
			delete(u.failures, name)
		}
	}
	if err == nil {
		delete(u.failures, image)
		return
	}
	wait := min(max(2*u.failures[image].wait, firstBackOff), longestBackOff)
	u.failures[image] = failure{err: err, next: now.Add(wait), wait: wait}
}
