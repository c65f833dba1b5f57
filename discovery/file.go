package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// byFile trusts the API server that a kubeconfig of the user's names.
func (o Options) byFile(ctx context.Context, path string) (*Cluster, error) {
	conf, err := readKubeconfig(ctx, path)
	if err != nil {
		return nil, err
	}
	cluster, user, err := current(conf)
	if err == nil && strings.HasPrefix(path, "https://") && (cluster.CertificateAuthority != "" || usesFiles(user)) {
		err = fmt.Errorf("it names files, which are not on this host")
	}
	if err == nil {
		// Paths lead nowhere once the kubeconfig is another file.
		err = clientcmdapi.FlattenConfig(conf)
	}
	if err != nil {
		return nil, fail(ErrNotJoinable, "read "+path+": "+err.Error(), "the file is to be a kubeconfig of the cluster")
	}
	if len(cluster.CertificateAuthorityData) == 0 {
		return nil, fail(ErrUntrusted, "read "+path+": it names no authority to trust", "put the cluster's authority into certificate-authority-data")
	}
	c := &Cluster{Server: strings.TrimSuffix(cluster.Server, "/"), CA: cluster.CertificateAuthorityData, login: *user}
	a, err := until(ctx, func(ctx context.Context) (*answer, error) { return get(ctx, c.Server, c.CA) })
	if errors.Is(err, ErrNotJoinable) {
		return c, nil // it can be trusted, and the rest is said by what comes next
	}
	if err != nil {
		return nil, o.ofClock(ctx, c.Server, err)
	}
	return c, o.sameTime(a, c.Server)
}

// ofClock says whether a certificate is not to be trusted because of the clock.
func (o Options) ofClock(ctx context.Context, server string, err error) error {
	if !errors.Is(err, ErrUntrusted) {
		return err
	}
	if a, errAgain := get(ctx, server, nil); errAgain == nil {
		if skew := o.sameTime(a, server); skew != nil {
			return skew
		}
	}
	return err
}

func usesFiles(user *clientcmdapi.AuthInfo) bool {
	return user.ClientCertificate != "" || user.ClientKey != "" || user.TokenFile != ""
}

// current returns the cluster and the user of the current context, or, without
// one, the only cluster and nobody.
func current(conf *clientcmdapi.Config) (*clientcmdapi.Cluster, *clientcmdapi.AuthInfo, error) {
	if c := conf.Contexts[conf.CurrentContext]; c != nil && conf.Clusters[c.Cluster] != nil {
		user := conf.AuthInfos[c.AuthInfo]
		if user == nil {
			user = &clientcmdapi.AuthInfo{}
		}
		return conf.Clusters[c.Cluster], user, nil
	}
	if len(conf.Clusters) == 1 {
		for _, cluster := range conf.Clusters {
			return cluster, &clientcmdapi.AuthInfo{}, nil
		}
	}
	return nil, nil, fmt.Errorf("it has no current context with a cluster")
}

func readKubeconfig(ctx context.Context, path string) (*clientcmdapi.Config, error) {
	if strings.HasPrefix(path, "https://") {
		data, err := until(ctx, func(ctx context.Context) ([]byte, error) { return download(ctx, path) })
		if err != nil {
			return nil, err
		}
		conf, err := clientcmd.Load(data)
		if err != nil {
			return nil, fail(ErrNotJoinable, "read "+path+": "+err.Error(), "there is to be a kubeconfig of the cluster")
		}
		return conf, nil
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fail(ErrNotJoinable, "read "+path+": it is not there", "give the path of a kubeconfig of the cluster")
	}
	conf, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return nil, fail(ErrNotJoinable, "read "+path+": "+err.Error(), "the file is to be a kubeconfig of the cluster")
	}
	return conf, nil
}

// download reads a file from somebody whom this host trusts.
func download(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fail(ErrUnreachable, err.Error(), "write a whole URL")
	}
	client := &http.Client{CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Scheme != "https" {
			return fmt.Errorf("redirected to %s, which is not to be trusted", r.URL.Redacted())
		}
		return nil
	}}
	response, err := client.Do(request)
	if err != nil {
		return nil, unreached(url, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, passing{fail(ErrUnreachable, fmt.Sprintf("read %s: %s", url, response.Status), "check the URL")}
	}
	return io.ReadAll(io.LimitReader(response.Body, maxInfo))
}
