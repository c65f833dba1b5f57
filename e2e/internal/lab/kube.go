package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Client returns a client of the API server, with the rights of a kubeconfig of
// the node, such as /etc/kubernetes/admin.conf.
func (n *Node) Client(t testing.TB, kubeconfig string) *kubernetes.Clientset {
	t.Helper()
	return must(n.connect(kubeconfig))(t)
}

func (n *Node) connect(kubeconfig string) (*kubernetes.Clientset, error) {
	var data []byte
	if err := n.Do(func() (err error) { data, err = os.ReadFile(kubeconfig); return err }); err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		return nil, err
	}
	config.Dial = n.Dial
	config.QPS = -1
	return kubernetes.NewForConfig(config)
}

// signTimeout is how long a control plane may take to sign for a token.
const signTimeout = 2 * time.Minute

// Signed waits until the control plane on the node vouches for itself with a token,
// which is some moments after the token was made. Whoever joins gives up sooner.
func (n *Node) Signed(ctx context.Context, token string) error {
	client, err := n.connect("/etc/kubernetes/admin.conf")
	if err != nil {
		return err
	}
	id, _, _ := strings.Cut(token, ".")
	ctx, cancel := context.WithTimeoutCause(ctx, signTimeout, fmt.Errorf("not within %s", signTimeout))
	defer cancel()
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		info, err := client.CoreV1().ConfigMaps("kube-public").Get(ctx, "cluster-info", metav1.GetOptions{})
		if err == nil && info.Data["jws-kubeconfig-"+id] != "" {
			return nil
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return fmt.Errorf("see cluster-info signed with the token %s: %w: %w", id, context.Cause(ctx), errors.Join(err, errUnsigned))
		}
	}
}

var errUnsigned = errors.New("it is not")
