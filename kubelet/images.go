package kubelet

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/credential"
	"boot.internal/kubelet/image"
)

// newImages makes what pulls images, with the credentials of pods and node.
func (k *kubelet) newImages() (*image.Puller, error) {
	c := k.o.Config
	plugins, err := k.newCredentialPlugins()
	if err != nil {
		return nil, err
	}
	home, err := os.UserHomeDir()
	if err != nil { // a service may well have none
		home = ""
	}
	credentials := credential.New(credential.Options{
		Secret: k.objects.Secret, Files: credential.Files{Root: k.o.RootDir, Home: home}, Plugins: plugins, Log: k.o.Logger,
	})
	return image.New(image.Options{
		CRI: k.conn.Images, Serial: ptr.Deref(c.SerializeImagePulls, false), MaxParallel: int(ptr.Deref(c.MaxParallelImagePulls, 0)),
		QPS: float32(ptr.Deref(c.RegistryPullQPS, 0)), Burst: int(c.RegistryBurst),
		Importing: k.o.Importing, Credentials: credentials.For, RecordsDir: filepath.Join(k.o.RootDir, "image_manager"),
		Verify: image.Verification{Policy: c.ImagePullCredentialsVerificationPolicy, Allowed: c.PreloadedImagesVerificationAllowlist},
		Event:  k.events.ofContainer, Log: k.o.Logger,
	}), nil
}

// newCredentialPlugins makes the credential providers, none if there is no
// configuration of any.
func (k *kubelet) newCredentialPlugins() (*credential.Plugins, error) {
	if k.o.CredentialConfig == "" || k.o.CredentialDir == "" {
		return nil, nil
	}
	providers, hash, err := credential.ReadConfig(k.o.CredentialConfig)
	if err != nil {
		return nil, err
	}
	k.metrics.identity.configured(hash)
	return credential.NewPlugins(credential.PluginOptions{
		Providers: providers, Dir: k.o.CredentialDir, Accounts: serviceAccounts{k}, Ran: k.metrics.identity.ran, Log: k.o.Logger,
	})
}

var errNoAPI = errors.New("there is no API server yet")

// clientset returns a client of the API server, or why there is none.
func (k *kubelet) clientset() (kubernetes.Interface, error) {
	if c := k.client.Load(); c != nil {
		return *c, nil
	}
	return nil, errNoAPI
}

// serviceAccounts are those of the API server.
type serviceAccounts struct{ k *kubelet }

// ServiceAccount implements credential.Accounts.
func (s serviceAccounts) ServiceAccount(ctx context.Context, namespace, name string) (*v1.ServiceAccount, error) {
	client, err := s.k.clientset()
	if err != nil {
		return nil, err
	}
	return client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
}

// Token implements credential.Accounts.
func (s serviceAccounts) Token(ctx context.Context, namespace, name string, r *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	client, err := s.k.clientset()
	if err != nil {
		return nil, err
	}
	return client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, r, metav1.CreateOptions{})
}
