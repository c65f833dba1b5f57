package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"boot.internal/atomicfile"
)

// A clientRotation makes a node's kubeconfig name the certificate that the loop
// renews, where it holds one of its own: whoever else reads it, as kube-proxy
// does, would go on with that until it ends.
type clientRotation struct {
	kubeconfig string // kubelet.conf
	current    string // certificate and key that are renewed
}

// Plan implements Phase.
func (p clientRotation) Plan(context.Context) ([]Change, error) {
	if _, err := os.Stat(p.current); errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it is not renewed, or not yet
	}
	config, user, err := p.read()
	if err != nil || user == nil || user.ClientCertificate == p.current && user.ClientKey == p.current && len(user.ClientCertificateData) == 0 {
		return nil, err
	}
	return []Change{{"name " + p.current + " in " + p.kubeconfig, func(context.Context) error {
		user.ClientCertificate, user.ClientKey = p.current, p.current
		user.ClientCertificateData, user.ClientKeyData = nil, nil
		data, err := clientcmd.Write(*config)
		if err != nil {
			return fmt.Errorf("encode %s: %w", p.kubeconfig, err)
		}
		return atomicfile.Write(p.kubeconfig, data, 0o600)
	}}}, nil
}

// read returns the kubeconfig and the user of its current context, nil if there is
// no file yet.
func (p clientRotation) read() (*clientcmdapi.Config, *clientcmdapi.AuthInfo, error) {
	data, err := os.ReadFile(p.kubeconfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	config, err := clientcmd.Load(data)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", p.kubeconfig, err)
	}
	c := config.Contexts[config.CurrentContext]
	if c == nil || config.AuthInfos[c.AuthInfo] == nil {
		return nil, nil, fmt.Errorf("read %s: it has no current context with a user", p.kubeconfig)
	}
	return config, config.AuthInfos[c.AuthInfo], nil
}
