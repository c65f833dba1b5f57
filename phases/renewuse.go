package phases

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"boot.internal/certs"
	"boot.internal/config"
)

// useTimeout is how long a component may take to serve with a certificate that has
// been replaced: the API server looks every minute, whatever it is told by the
// kernel.
const useTimeout = 2 * time.Minute

// A use is a certificate that is served by a component which notices by itself that
// it was replaced.
type use struct {
	held      certs.Places
	name      string // of the certificate
	component string
	manifests string
	address   func(*corev1.Pod) string
	seen      bool // it was served when it was waited for
}

// uses returns the phases that wait until components serve with what was renewed.
func (o RenewOptions) uses() []Step {
	var steps []Step
	for _, u := range []*use{
		{name: "etcd-server", component: config.ComponentEtcd, address: etcdServes},
		{name: "apiserver", component: config.ComponentAPIServer, address: probed},
	} {
		if slices.ContainsFunc(o.Held, func(h certs.Held) bool { return h.Name == u.name }) {
			u.held, u.manifests = o.Places, o.Rollout.Manifests
			steps = append(steps, Step{"use/" + u.name, "Wait until " + u.component + " serves with it", u})
		}
	}
	return steps
}

// Plan implements Phase. What has been seen by waiting for it is not looked for
// again, which a slow host might not answer in time.
func (u *use) Plan(ctx context.Context) ([]Change, error) {
	if u.seen {
		return nil, nil
	}
	pod, err := readPod(filepath.Join(u.manifests, u.component+".yaml"))
	if err != nil || pod == nil {
		return nil, err
	}
	address := u.address(pod)
	if address == "" || u.shown(ctx, address) == nil {
		return nil, nil
	}
	return []Change{{"wait until " + u.component + " serves with the certificate " + u.name, func(ctx context.Context) error {
		waiting(ctx, u.component)
		return until(ctx, useTimeout, func(ctx context.Context) (bool, error) {
			err := u.shown(ctx, address)
			u.seen = err == nil
			return u.seen, err
		})
	}}}, nil
}

// shown says why a component does not serve with what is on the disk.
func (u *use) shown(ctx context.Context, address string) error {
	held, err := certs.Find(certs.Hold(u.held), []string{u.name})
	if err != nil {
		return err
	}
	if held[0].Certificate == nil {
		return held[0].Err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it is looked at, not trusted
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("look at the certificate of %s: %w", u.component, err)
	}
	defer func() { _ = conn.Close() }()
	if shown := conn.(*tls.Conn).ConnectionState().PeerCertificates; len(shown) == 0 || !shown[0].Equal(held[0].Certificate) {
		return fmt.Errorf("%s still serves with another certificate than that in %s", u.component, held[0].Path)
	}
	return nil
}

// probed is where a pod is probed, host and port.
func probed(pod *corev1.Pod) string {
	for i := range pod.Spec.Containers {
		if u, err := url.Parse(probeURL(&pod.Spec.Containers[i])); err == nil && u.Scheme == "https" {
			return u.Host
		}
	}
	return ""
}

// etcdServes is where etcd's clients on this node reach it.
func etcdServes(pod *corev1.Pod) string {
	for _, text := range splitURLs(flagOf(pod, "listen-client-urls")) {
		if u, err := url.Parse(text); err == nil && u.Scheme == "https" {
			return u.Host
		}
	}
	return ""
}
