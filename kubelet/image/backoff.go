package image

import "time"

// After a pull failed the pod leaves the image alone for firstBackOff, then twice
// as long each time, up to longestBackOff.
const (
	firstBackOff   = 10 * time.Second
	longestBackOff = 300 * time.Second
)

// showError is how long the error itself is shown before the next try finds
// that it has to wait.
const showError = time.Second

// A failure is the last pull of an image for a pod, if it failed.
type failure struct {
	err  error
	next time.Time // not to be pulled before
	wait time.Duration
}

// backOff returns for how long the image is still left alone, and why.
func (u *Puller) backOff(a attempt, now time.Time) (left time.Duration, cause error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.failures[a]
	return f.next.Sub(now), f.err
}

// note keeps the outcome of a pull. What nobody asked for in a long time starts
// over.
func (u *Puller) note(a attempt, err error, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for old, f := range u.failures {
		if now.Sub(f.next) > 2*longestBackOff {
			delete(u.failures, old)
		}
	}
	if err == nil {
		delete(u.failures, a)
		return
	}
	wait := min(max(2*u.failures[a].wait, firstBackOff), longestBackOff)
	u.failures[a] = failure{err: err, next: now.Add(wait), wait: wait}
}
