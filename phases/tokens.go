package phases

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/cert"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/util/secrets"

	"boot.internal/config"
	"boot.internal/discovery"
	"boot.internal/hint"
	"boot.internal/templates"
)

// Tokens are the bootstrap tokens of a cluster, which nodes join with.
type Tokens struct{ api kubernetes.Interface }

// A Token is one of them, without its secret.
type Token struct {
	ID          string
	Description string
	Expires     time.Time // the zero time is never
	Usages      []string
	Groups      []string
}

// OpenTokens returns the tokens of the cluster that a kubeconfig leads to.
func OpenTokens(kubeconfig string) (*Tokens, error) {
	c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, hint.With(fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err), "run it on a control plane, or name an administrator's kubeconfig with --kubeconfig")
	}
	c.Timeout = callTimeout
	api, err := kubernetes.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("use kubeconfig %s: %w", kubeconfig, err)
	}
	return &Tokens{api}, nil
}

// Create makes a token known to the cluster.
func (t *Tokens) Create(ctx context.Context, token config.BootstrapToken) error {
	obj, err := templates.BootstrapToken(token, time.Now())
	if err != nil {
		return err
	}
	secret, err := toSecret(obj)
	if err != nil {
		return err
	}
	_, err = t.api.CoreV1().Secrets(secret.Namespace).Create(ctx, secret, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		id, _, _ := strings.Cut(token.Token.Reveal(), ".")
		return hint.With(fmt.Errorf("the cluster has a bootstrap token %s", id), "choose another one, or remove that: boot token delete "+id)
	}
	if err != nil {
		return fmt.Errorf("create bootstrap token: %w", err)
	}
	return nil
}

// Delete removes a token by its ID.
func (t *Tokens) Delete(ctx context.Context, id string) error {
	err := t.api.CoreV1().Secrets(metav1.NamespaceSystem).Delete(ctx, bootstrapapi.BootstrapTokenSecretPrefix+id, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return hint.With(fmt.Errorf("the cluster has no bootstrap token %s", id), "'boot token list' shows those it has")
	}
	if err != nil {
		return fmt.Errorf("remove bootstrap token %s: %w", id, err)
	}
	return nil
}

// List returns the tokens by their IDs.
func (t *Tokens) List(ctx context.Context) ([]Token, error) {
	list, err := t.api.CoreV1().Secrets(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{
		FieldSelector: "type=" + string(bootstrapapi.SecretTypeBootstrapToken),
	})
	if err != nil {
		return nil, fmt.Errorf("list bootstrap tokens: %w", err)
	}
	var all []Token
	for i := range list.Items {
		all = append(all, tokenOf(&list.Items[i]))
	}
	slices.SortFunc(all, func(a, b Token) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

func tokenOf(s *corev1.Secret) Token {
	token := Token{
		ID:          secrets.GetData(s, bootstrapapi.BootstrapTokenIDKey),
		Description: secrets.GetData(s, bootstrapapi.BootstrapTokenDescriptionKey),
	}
	if end, err := time.Parse(time.RFC3339, secrets.GetData(s, bootstrapapi.BootstrapTokenExpirationKey)); err == nil {
		token.Expires = end
	}
	for _, usage := range bootstrapapi.KnownTokenUsages {
		if secrets.GetData(s, bootstrapapi.BootstrapTokenUsagePrefix+usage) == "true" {
			token.Usages = append(token.Usages, usage)
		}
	}
	if groups := secrets.GetData(s, bootstrapapi.BootstrapTokenExtraGroupsKey); groups != "" {
		token.Groups = strings.Split(groups, ",")
	}
	return token
}

// JoinCommand returns the arguments of boot with which a node joins by a token.
func (t *Tokens) JoinCommand(ctx context.Context, token config.Secret) ([]string, error) {
	info, err := t.api.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(ctx, bootstrapapi.ConfigMapClusterInfo, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %s: %w", bootstrapapi.ConfigMapClusterInfo, err)
	}
	conf, err := clientcmd.Load([]byte(info.Data[bootstrapapi.KubeConfigKey]))
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %s: %w", bootstrapapi.ConfigMapClusterInfo, err)
	}
	for _, c := range conf.Clusters {
		return joinCommand(c.Server, c.CertificateAuthorityData, token)
	}
	return nil, fmt.Errorf("read ConfigMap %s: %w", bootstrapapi.ConfigMapClusterInfo, errors.New("it names no cluster"))
}

// joinCommand pins every certificate of the authority: while one replaces
// another, there are two.
func joinCommand(server string, ca []byte, token config.Secret) ([]string, error) {
	certs, err := cert.ParseCertsPEM(ca)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's authority: %w", err)
	}
	args := []string{"join", strings.TrimPrefix(server, "https://"), "--token", token.Reveal()}
	for _, c := range slices.CompactFunc(certs, (*x509.Certificate).Equal) {
		args = append(args, "--discovery-token-ca-cert-hash", discovery.Hash(c))
	}
	return args, nil
}
