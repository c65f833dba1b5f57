package source

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/source/manifest"
)

// HTTPOptions say which URL to ask for pods.
type HTTPOptions struct {
	URL      string        // staticPodURL
	Header   http.Header   // staticPodURLHeader
	Node     string        // name of this node
	Interval time.Duration // httpCheckFrequency; 0 is 20 s
	// Client sends the requests; nil is one that gives up after 10 s.
	Client *http.Client
}

// An HTTPSource asks a URL for static pods (SP-61). All of its state belongs
// to the goroutine of Run.
type HTTPSource struct {
	o    HTTPOptions
	body []byte    // the last good answer; nil before the first
	good []Problem // of that answer
	last Snapshot  // as sent last
	sent bool
}

// httpTimeout is how long the default client waits for a whole answer.
const httpTimeout = 10 * time.Second

// HTTP returns a source of the pods at a URL.
func HTTP(o HTTPOptions) *HTTPSource {
	o.Interval = cmp.Or(o.Interval, defaultInterval)
	if o.Client == nil {
		o.Client = &http.Client{Timeout: httpTimeout}
	}
	return &HTTPSource{o: o, last: Snapshot{Origin: pod.SourceHTTP, Partial: true}}
}

// Run asks at once and then at each interval, and calls out whenever the set
// of pods or problems is another one, until ctx ends. Snapshots are partial
// until there was a good answer.
func (s *HTTPSource) Run(ctx context.Context, out func(Snapshot)) {
	ticker := time.NewTicker(s.o.Interval)
	defer ticker.Stop()
	for {
		if next := s.ask(ctx); ctx.Err() == nil {
			s.send(next, out)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// ask returns the snapshot after one more request. An answer that cannot be
// had or used changes nothing but the problems.
func (s *HTTPSource) ask(ctx context.Context) Snapshot {
	next := s.last
	body, err := s.get(ctx)
	if err != nil {
		next.Problems = []Problem{{Path: s.o.URL, Reason: Unreadable, Message: err.Error()}}
		return next
	}
	if s.body != nil && bytes.Equal(body, s.body) {
		next.Problems = s.good
		return next
	}
	pods, warnings, err := manifest.Pods(body, manifest.Origin{
		Node: s.o.Node, Source: pod.SourceHTTP, Place: "url:" + s.o.URL, Seen: time.Now(),
	})
	if err != nil && !errors.Is(err, manifest.ErrEmpty) {
		next.Problems = refusals(s.o.URL, err)
		return next
	}
	d := newDistinct()
	s.good = problems(s.o.URL, pod.Key{}, Questionable, warnings)
	for _, p := range pods {
		if other, ok := d.add(p, s.o.URL); !ok {
			s.good = append(s.good, duplicate(s.o.URL, other, p))
		}
	}
	s.body = body
	return Snapshot{Origin: pod.SourceHTTP, Pods: d.pods, Problems: s.good}
}

// send calls out if there is anything new.
func (s *HTTPSource) send(next Snapshot, out func(Snapshot)) {
	same := s.sent && next.Partial == s.last.Partial &&
		slices.Equal(next.Pods, s.last.Pods) && slices.Equal(next.Problems, s.last.Problems)
	s.last, s.sent = next, true
	if !same {
		out(next)
	}
}

// get returns the body of a good answer.
func (s *HTTPSource) get(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.o.URL, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask for pods: %w", err)
	}
	req.Header = s.o.Header.Clone()
	resp, err := s.o.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for pods: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask for pods: the answer is %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, sizeLimit+1))
	if err != nil {
		return nil, fmt.Errorf("read pods: %w", err)
	}
	if len(body) > sizeLimit {
		return nil, fmt.Errorf("the read limit is reached: the answer is larger than %d bytes", sizeLimit)
	}
	return body, nil
}
