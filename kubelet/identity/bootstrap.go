package identity

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"boot.internal/atomicfile"
)

// expired reports whether a kubeconfig's certificate is of no use any more, or
// never was there.
func expired(config *rest.Config) bool {
	cert, key := config.CertData, config.KeyData
	if len(cert) == 0 && config.CertFile != "" {
		cert, _ = os.ReadFile(config.CertFile) // what cannot be read is no certificate
		key, _ = os.ReadFile(config.KeyFile)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return true
	}
	// What follows it vouches for its authority, and may end sooner.
	return pair.Leaf == nil || time.Now().After(pair.Leaf.NotAfter)
}

// refer writes the kubeconfig of the cluster that login knows, for the user whose
// certificate will be in CertDir, and returns it.
func (o ClientOptions) refer(login *rest.Config) (*rest.Config, error) {
	config := rest.AnonymousClientConfig(login)
	config.CertFile, config.KeyFile = currentPath(o.CertDir, clientPrefix), currentPath(o.CertDir, clientPrefix)
	data, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"default-cluster": {
			Server: login.Host, TLSServerName: login.ServerName, InsecureSkipTLSVerify: login.Insecure,
			CertificateAuthority: login.CAFile, CertificateAuthorityData: login.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"default-auth": {ClientCertificate: config.CertFile, ClientKey: config.KeyFile}},
		Contexts: map[string]*clientcmdapi.Context{"default-context": {
			Cluster: "default-cluster", AuthInfo: "default-auth", Namespace: "default",
		}},
		CurrentContext: "default-context",
	})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", o.Kubeconfig, err)
	}
	return config, atomicfile.Write(o.Kubeconfig, data, 0o600)
}

// leaf returns the first certificate of a PEM text.
func leaf(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("read certificate: no PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}
