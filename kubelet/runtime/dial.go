package runtime

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A Conn is a connection to a container runtime.
type Conn struct {
	Runtime cri.RuntimeServiceClient
	Images  cri.ImageServiceClient

	conns []*grpc.ClientConn
}

// maxMessage is upstream's limit for one message of CRI, such as the list of
// all containers.
const maxMessage = 16 << 20

// connectTimeout is how long a runtime may take to say its first word to who has
// connected. One that has much to do is still the one that is wanted.
const connectTimeout = 20 * time.Second

// Dial returns a connection to the runtime at endpoint, a path or a unix:// URL.
// Images are dealt with at imageEndpoint, if that is not empty. The connection
// is made with the first call and made again whenever it is lost; calls fail at
// once while there is none.
func Dial(endpoint, imageEndpoint string, with ...grpc.DialOption) (*Conn, error) {
	main, err := dial(endpoint, with)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		Runtime: cri.NewRuntimeServiceClient(main),
		Images:  cri.NewImageServiceClient(main),
		conns:   []*grpc.ClientConn{main},
	}
	if imageEndpoint == "" || imageEndpoint == endpoint {
		return c, nil
	}
	images, err := dial(imageEndpoint, with)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.Images = cri.NewImageServiceClient(images)
	c.conns = append(c.conns, images)
	return c, nil
}

func dial(endpoint string, with []grpc.DialOption) (*grpc.ClientConn, error) {
	target := endpoint
	if strings.HasPrefix(target, "/") {
		target = "unix://" + target
	}
	if !strings.HasPrefix(target, "unix://") {
		return nil, fmt.Errorf("connect to container runtime at %q: not a unix socket", endpoint)
	}
	conn, err := grpc.NewClient(target, append(with,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithIdleTimeout(0), // there is always an event stream
		// A runtime that restarts is back within a second or two: knock often.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second,
			},
			MinConnectTimeout: connectTimeout,
		}),
	)...)
	if err != nil {
		return nil, fmt.Errorf("connect to container runtime at %q: %w", endpoint, err)
	}
	return conn, nil
}

// Close ends the connection. Calls in flight fail.
func (c *Conn) Close() error {
	var all []error
	for _, conn := range c.conns {
		all = append(all, conn.Close())
	}
	return errors.Join(all...)
}
