package source

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"boot.internal/kubelet/pod"
)

// A fakeServer answers what it is told, without a network, so that time in the
// test is that of synctest.
type fakeServer struct {
	mu     sync.Mutex // guards all below
	status int
	body   string
	err    error
	asked  int
	header http.Header
	got    []Snapshot // what came of it
}

// set says what to answer from now on, and returns what was asked and what came
// of it so far.
func (f *fakeServer) set(status int, body string, err error) (asked int, got []Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status, f.body, f.err = status, body, err
	return f.asked, f.got
}

func (f *fakeServer) take(s Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, s)
}

func (f *fakeServer) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	f.header = req.Header
	if f.err != nil {
		return nil, f.err
	}
	return &http.Response{StatusCode: f.status, Status: fmt.Sprint(f.status), Body: io.NopCloser(strings.NewReader(f.body))}, nil
}

func podList(names ...string) string {
	items := make([]string, len(names))
	for i, name := range names {
		items[i] = fmt.Sprintf(`{"metadata":{"name":%q},"spec":{"containers":[{"name":"c","image":"i:1"}]}}`, name)
	}
	return `{"kind":"PodList","apiVersion":"v1","items":[` + strings.Join(items, ",") + "]}"
}

func TestHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{err: io.ErrUnexpectedEOF}
		s := HTTP(HTTPOptions{
			URL: "http://pods.example/", Node: "n1", Interval: 20 * time.Second,
			Header: http.Header{"X-Token": {"t"}}, Client: &http.Client{Transport: server},
		})
		go s.Run(t.Context(), server.take)

		// step lets one interval pass and returns the one snapshot it brought.
		step := func(what string, status int, body string) *Snapshot {
			t.Helper()
			before, had := server.set(status, body, nil)
			time.Sleep(20 * time.Second)
			synctest.Wait()
			asked, got := server.set(status, body, nil)
			if asked != before+1 {
				t.Errorf("%s: asked %d times in an interval", what, asked-before)
			}
			if len(got) == len(had) {
				return nil
			}
			return &got[len(got)-1]
		}

		synctest.Wait()
		_, got := server.set(0, "", io.ErrUnexpectedEOF)
		if len(got) != 1 || !got[0].Partial || got[0].Problems[0].Reason != Unreadable {
			t.Fatalf("SP-61 before the first answer: %+v", got)
		}
		first := step("SP-61 a list", 200, podList("b", "a"))
		if first == nil || first.Partial || fmt.Sprint(names(*first)) != "[b-n1 a-n1]" || len(first.Problems) != 0 {
			t.Fatalf("SP-61 a list: %+v", first)
		}
		if server.header.Get("X-Token") != "t" {
			t.Error("SP-61 the headers were not sent")
		}
		if p := first.Pods[0]; p.Annotations[pod.ConfigSource] != "http" || len(p.Spec.Tolerations) != 0 {
			t.Errorf("SP-25 only file pods get the toleration: %v", p.Spec.Tolerations)
		}
		if again := step("SP-61 identical bytes", 200, podList("b", "a")); again != nil {
			t.Errorf("SP-61 identical bytes brought %+v", again)
		}
		for what, answer := range map[string]struct {
			status int
			body   string
		}{
			"SP-61 not 200":           {500, ""},
			"SP-61 one bad item":      {200, podList("b", "a", "Not A Name")},
			"SP-61 neither of both":   {200, `{"kind":"Service","apiVersion":"v1"}`},
			"SP-61 too large (SP-7)":  {200, strings.Repeat(" ", sizeLimit+1)},
			"SP-61 an item of a kind": {200, `{"kind":"List","apiVersion":"v1","items":[{"kind":"Service","apiVersion":"v1"}]}`},
		} {
			bad := step(what, answer.status, answer.body)
			if bad == nil || bad.Pods[0] != first.Pods[0] || len(bad.Pods) != 2 || len(bad.Problems) != 1 {
				t.Errorf("%s: %+v", what, bad)
			}
			good := step(what+", then good", 200, podList("b", "a"))
			if good == nil || good.Pods[0] != first.Pods[0] || len(good.Problems) != 0 {
				t.Errorf("%s, then good: %+v", what, good)
			}
		}
		if one := step("SP-61 a pod", 200, manifestOf("one", "")); one == nil || fmt.Sprint(names(*one)) != "[one-n1]" {
			t.Errorf("SP-61 a pod: %+v", one)
		}
		if twice := step("a list with a pod twice", 200, podList("x", "x")); len(twice.Pods) != 1 || twice.Problems[0].Reason != Duplicate {
			t.Errorf("a pod twice: %+v", twice)
		}
		if none := step("SP-61 an empty body", 200, ""); none == nil || len(none.Pods) != 0 || len(none.Problems) != 0 {
			t.Errorf("SP-61 an empty body: %+v", none)
		}
	})
}
