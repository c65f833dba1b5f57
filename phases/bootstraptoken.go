package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/util/secrets"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/hint"
	"boot.internal/templates"
)

// joiningNodes is the group that bearers of a token need to become nodes.
const joiningNodes = "system:bootstrappers:kubeadm:default-node-token"

// A bootstrapToken lets nodes join: the tokens, the rules for their bearers and
// the public word on which CA to trust.
type bootstrapToken struct {
	api    apiServer
	tokens []config.BootstrapToken
	// generated says that nobody asked for this very token: any usable one that
	// the cluster has serves as well.
	generated bool
	caPath    string
	server    string
}

// Plan implements Phase.
func (p bootstrapToken) Plan(ctx context.Context) ([]Change, error) {
	changes, err := p.planTokens(ctx)
	if err != nil {
		return nil, err
	}
	rules, err := stored(p.api, templates.BootstrapTokenRBAC).Plan(ctx)
	if err != nil {
		return nil, err
	}
	info, err := p.planClusterInfo(ctx)
	return slices.Concat(changes, rules, info), err
}

func (p bootstrapToken) planTokens(ctx context.Context) ([]Change, error) {
	if p.generated {
		usable, err := usableToken(ctx, p.api)
		if err != nil || usable != "" {
			return nil, err
		}
	}
	var changes []Change
	for _, token := range p.tokens {
		change, err := p.planToken(ctx, token)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change...)
	}
	return changes, nil
}

// planToken leaves a token alone that is there with the same secret: when it
// ends was decided when it was made.
func (p bootstrapToken) planToken(ctx context.Context, token config.BootstrapToken) ([]Change, error) {
	want, err := templates.BootstrapToken(token, time.Time{})
	if err != nil {
		return nil, err
	}
	live, err := p.api.get(ctx, want)
	if err != nil {
		return nil, err
	}
	verb := "create "
	if live != nil {
		have, err := toSecret(live)
		if err != nil {
			return nil, err
		}
		if !secrets.HasExpired(have, time.Now()) {
			return nil, sameToken(have, token)
		}
		verb = "renew "
	}
	return []Change{{verb + describe(want), func(ctx context.Context) error {
		obj, err := templates.BootstrapToken(token, time.Now())
		if err != nil {
			return err
		}
		return p.api.apply(ctx, obj)
	}}}, nil
}

// sameToken refuses to take somebody else's token from them.
func sameToken(have *corev1.Secret, token config.BootstrapToken) error {
	id, secret, _ := strings.Cut(token.Token.Reveal(), ".")
	if secrets.GetData(have, bootstrapapi.BootstrapTokenSecretKey) == secret {
		return nil
	}
	return hint.With(fmt.Errorf("the cluster has a bootstrap token %s with another secret", id),
		fmt.Sprintf("choose another token, or remove that one: kubectl -n %s delete secret %s", have.Namespace, have.Name))
}

// planClusterInfo knows that in a dry run there may be no CA yet to tell of.
func (p bootstrapToken) planClusterInfo(ctx context.Context) ([]Change, error) {
	kubeconfig, missing := p.clusterInfo()
	if missing != nil && !errors.Is(missing, fs.ErrNotExist) {
		return nil, missing
	}
	objects, err := templates.ClusterInfo(kubeconfig)
	if err != nil {
		return nil, err
	}
	changes, err := p.api.planObjects(ctx, objects...)
	if missing != nil {
		for i := range changes {
			changes[i].Apply = func(context.Context) error { return missing }
		}
	}
	return changes, err
}

// clusterInfo is the kubeconfig of nobody: where the cluster is and which CA to
// trust.
func (p bootstrapToken) clusterInfo() ([]byte, error) {
	ca, err := os.ReadFile(p.caPath)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"": {Server: p.server, CertificateAuthorityData: ca}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the ConfigMap %s: %w", bootstrapapi.ConfigMapClusterInfo, err)
	}
	return kubeconfig, nil
}

// usableToken returns a token of the cluster that a node can join with, empty
// if there is none.
func usableToken(ctx context.Context, api apiServer) (config.Secret, error) {
	all, err := api.bootstrapTokens(ctx)
	if err != nil {
		return "", err
	}
	for _, s := range all {
		id, secret := secrets.GetData(s, bootstrapapi.BootstrapTokenIDKey), secrets.GetData(s, bootstrapapi.BootstrapTokenSecretKey)
		if joinable(s, time.Now()) && id != "" && secret != "" {
			return config.Secret(id + "." + secret), nil
		}
	}
	return "", nil
}

// joinable says whether the token authenticates nodes and vouches for the
// cluster to them, for an hour at least.
func joinable(s *corev1.Secret, now time.Time) bool {
	groups, err := secrets.GetGroups(s)
	return err == nil && slices.Contains(groups, joiningNodes) &&
		!secrets.HasExpired(s, now.Add(time.Hour)) &&
		secrets.GetData(s, bootstrapapi.BootstrapTokenUsageAuthentication) == "true" &&
		secrets.GetData(s, bootstrapapi.BootstrapTokenUsageSigningKey) == "true"
}

// JoinCommand returns the arguments of boot with which a node joins the cluster
// that init has made, none if it has no token for that. Where the configuration's
// was generated, the token may be another one.
func JoinCommand(ctx context.Context, o InitOptions) ([]string, error) {
	token, err := usableToken(ctx, o.api())
	if err != nil || token == "" {
		return nil, err
	}
	ca, err := os.ReadFile(certs.Tree(o.Config.Cluster.CertificatesDir).CA.Cert)
	if err != nil {
		return nil, err
	}
	return joinCommand(SharedURL(o.Config), ca, token)
}
