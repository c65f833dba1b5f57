package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"boot.internal/e2e/internal/lab"
)

// errEtcd is of an API server that lives and waits for etcd.
var errEtcd = errors.New("it waits for etcd")

// watchAPI asks the API server again and again, and returns what tells of the times
// when it did not answer. It may wait for etcd, as it does for two members that have
// no leader while the machine is busy, but not for long.
func watchAPI(t *testing.T, n *lab.Node) func() []string {
	ctx, cancel := context.WithCancel(t.Context())
	var gaps []string
	ended := make(chan struct{})
	transport := &http.Transport{DialContext: n.Dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		well := time.Now()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			err := alive(ctx, transport, "https://"+n.IP.String()+":6443/livez")
			if errors.Is(err, errEtcd) && time.Since(well) < soon {
				continue
			}
			if err == nil {
				well = time.Now()
			} else if ctx.Err() == nil {
				gaps = append(gaps, time.Now().Format(time.TimeOnly)+" "+err.Error())
			}
		}
	}()
	stop := func() []string {
		cancel()
		<-ended
		return gaps
	}
	t.Cleanup(func() { stop() })
	return stop
}

func alive(ctx context.Context, transport http.RoundTripper, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if strings.Count(string(body), "[-]") == 1 && strings.Contains(string(body), "[-]etcd ") {
		return errEtcd
	}
	return fmt.Errorf("%s: %s", response.Status, body)
}
