package runtime

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// runHook runs a lifecycle hook of a container and returns once it has.
func (r *Runtime) runHook(ctx context.Context, h *v1.LifecycleHandler, id string, ports []v1.ContainerPort) error {
	switch {
	case h.Exec != nil:
		return r.execHook(ctx, id, h.Exec.Command)
	case h.HTTPGet != nil:
		return r.httpHook(ctx, id, h.HTTPGet, ports)
	case h.Sleep != nil:
		return sleep(ctx, time.Duration(h.Sleep.Seconds)*time.Second)
	default: // tcpSocket never was implemented anywhere
		return fmt.Errorf("the hook is of no known kind")
	}
}

func (r *Runtime) execHook(ctx context.Context, id string, command []string) error {
	out, code, err := r.Exec(ctx, id, command, 0)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("command %q exited with %d: %s", strings.Join(command, " "), code, out)
	}
	return nil
}

// httpHook makes a request to the container. As upstream, any answer will do.
func (r *Runtime) httpHook(ctx context.Context, id string, get *v1.HTTPGetAction, ports []v1.ContainerPort) error {
	port, err := portNumber(get.Port, ports)
	if err != nil {
		return err
	}
	host := get.Host
	if host == "" {
		if host, err = r.hookHost(ctx, id); err != nil {
			return err
		}
	}
	target, err := url.Parse(get.Path)
	if err != nil {
		return fmt.Errorf("read path of hook: %w", err)
	}
	target.Scheme = strings.ToLower(string(cmp.Or(get.Scheme, v1.URISchemeHTTP)))
	target.Host = net.JoinHostPort(host, strconv.Itoa(port))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return err
	}
	for _, h := range get.HTTPHeaders {
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			req.Host = h.Value
			continue
		}
		req.Header.Add(h.Name, h.Value)
	}
	resp, err := hookClient().Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// hookClient does not check certificates: a container has none the node could
// know.
func hookClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}}
}

// hookHost returns the address of the pod of a container.
func (r *Runtime) hookHost(ctx context.Context, id string) (string, error) {
	list, err := r.o.CRI.ListContainers(ctx, &cri.ListContainersRequest{Filter: &cri.ContainerFilter{Id: id}})
	if err != nil {
		return "", fmt.Errorf("look for container of hook: %w", err)
	}
	if len(list.Containers) == 0 {
		return "", fmt.Errorf("container of hook is gone")
	}
	sandbox := pod.Sandbox{ID: list.Containers[0].PodSandboxId}
	if err := r.lookInto(ctx, &sandbox); err != nil {
		return "", err
	}
	ips := r.podIPs(sandbox)
	if len(ips) == 0 {
		return "", fmt.Errorf("pod of hook has no address")
	}
	return ips[0], nil
}

func portNumber(port intstr.IntOrString, ports []v1.ContainerPort) (int, error) {
	if port.Type == intstr.Int {
		return port.IntValue(), nil
	}
	for _, p := range ports {
		if p.Name == port.StrVal {
			return int(p.ContainerPort), nil
		}
	}
	if n, err := strconv.Atoi(port.StrVal); err == nil {
		return n, nil
	}
	return 0, fmt.Errorf("container has no port named %q", port.StrVal)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
