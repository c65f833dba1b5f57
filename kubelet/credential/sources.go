package credential

import (
	"context"
	"fmt"
	"log/slog"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// Options say where credentials are from.
type Options struct {
	// Secret returns a secret. Nil where there is no API server.
	Secret func(ctx context.Context, namespace, name string) (*v1.Secret, error)
	Files  Files
	// Plugins are asked last; may be nil.
	Plugins *Plugins
	Log     *slog.Logger
}

// Sources are everything that credentials may be from. They are safe for
// concurrent use.
type Sources struct{ o Options }

// New returns the sources.
func New(o Options) *Sources { return &Sources{o} }

// For returns what to try for an image that a pod uses, the best first, and the
// names of secrets that could not be had. The image is named in full, without
// tag and digest: "docker.io/library/nginx". It waits for secrets that are not
// known yet, and for plugins, until ctx ends.
func (s *Sources) For(ctx context.Context, p *v1.Pod, image string) (found []Credential, missing []string) {
	own := keyring{}
	for _, ref := range p.Spec.ImagePullSecrets {
		if ref.Name == "" { // the API lets it pass
			continue
		}
		if err := s.addSecret(ctx, own, p.Namespace, ref.Name); err != nil {
			s.o.Log.LogAttrs(ctx, slog.LevelInfo, "no pull secret", slog.String("pod", pod.KeyOf(p).String()),
				slog.String("secret", ref.Name), slog.Any("err", err))
			missing = append(missing, ref.Name)
		}
	}
	nodes := keyring{}
	nodes.add(s.o.Files.read(), Origin{Kind: Node})
	found = append(own.lookup(image), nodes.lookup(image)...)
	if s.o.Plugins != nil {
		found = append(found, s.o.Plugins.lookup(ctx, p, image)...)
	}
	return found, missing
}

// addSecret adds what a secret holds. One of another type holds nothing.
func (s *Sources) addSecret(ctx context.Context, to keyring, namespace, name string) error {
	if s.o.Secret == nil {
		return fmt.Errorf("get secret %s/%s: there is no API server", namespace, name)
	}
	secret, err := s.o.Secret(ctx, namespace, name)
	if err != nil {
		return err
	}
	all, err := ofSecret(secret)
	if err != nil {
		return fmt.Errorf("read secret %s/%s: %w", namespace, name, err)
	}
	to.add(all, Origin{Secret, string(secret.UID), secret.Namespace, secret.Name})
	return nil
}

func ofSecret(s *v1.Secret) (logins, error) {
	if data := s.Data[v1.DockerConfigJsonKey]; s.Type == v1.SecretTypeDockerConfigJson && len(data) > 0 {
		return readConfigJSON(data)
	}
	if data := s.Data[v1.DockerConfigKey]; s.Type == v1.SecretTypeDockercfg && len(data) > 0 {
		return readDockercfg(data)
	}
	return nil, nil
}
