package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	v1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"boot.internal/kubelet/pod"
)

// Tokens are those of service accounts, bound to pods.
type Tokens interface {
	// Token returns a token that is good for a while yet. An empty audience is
	// the API server's. Seconds is how long it is to live; nil leaves that to
	// the API server. Have is what an earlier process may have left.
	Token(ctx context.Context, p *v1.Pod, audience string, seconds *int64, have []byte) ([]byte, error)
}

// Bundles are trust anchors that the cluster publishes.
type Bundles interface {
	// Bundle returns the certificates as PEM.
	Bundle(ctx context.Context, src *v1.ClusterTrustBundleProjection) ([]byte, error)
}

// Certificates are those issued to pods.
type Certificates interface {
	// Certificate returns the key and certificate chain, as PEM, for the source
	// of a volume of p.
	Certificate(ctx context.Context, p *v1.Pod, volume string, source int) (key, chain []byte, err error)
}

// projected returns the files of all sources of a projected volume; where two
// write the same path the later one wins. All that is wrong is said at once.
func (v *Volumes) projected(ctx context.Context, p *v1.Pod, name string, src *v1.ProjectedVolumeSource) (map[string]file, error) {
	all := make(map[string]file)
	var failed []error
	for i := range src.Sources {
		files, err := v.source(ctx, p, name, src, i)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		maps.Copy(all, files)
	}
	return all, utilerrors.NewAggregate(failed)
}

// source returns the files of one source of a projected volume.
func (v *Volumes) source(ctx context.Context, p *v1.Pod, volume string, in *v1.ProjectedVolumeSource, i int) (map[string]file, error) {
	switch s := in.Sources[i]; {
	case s.Secret != nil:
		data, err := v.secret(ctx, p, s.Secret.Name, isTrue(s.Secret.Optional))
		if err != nil {
			return nil, err
		}
		return keys{data, "references non-existent secret key", s.Secret.Items, in.DefaultMode, in.DefaultUser, isTrue(s.Secret.Optional)}.files()
	case s.ConfigMap != nil:
		data, err := v.configMap(ctx, p, s.ConfigMap.Name, isTrue(s.ConfigMap.Optional))
		if err != nil {
			return nil, err
		}
		return keys{data, "configmap references non-existent config key", s.ConfigMap.Items, in.DefaultMode, in.DefaultUser, isTrue(s.ConfigMap.Optional)}.files()
	case s.DownwardAPI != nil:
		return v.downward(p, s.DownwardAPI.Items, in.DefaultMode, in.DefaultUser)
	case s.ServiceAccountToken != nil:
		return v.token(ctx, p, volume, in, s.ServiceAccountToken)
	case s.ClusterTrustBundle != nil:
		return v.bundle(ctx, p, in, s.ClusterTrustBundle)
	case s.PodCertificate != nil:
		return v.certificate(ctx, p, volume, in, i)
	default:
		return nil, fmt.Errorf("projected sources of kind %s are not supported", onlyField(s))
	}
}

func (v *Volumes) token(ctx context.Context, p *v1.Pod, volume string, in *v1.ProjectedVolumeSource, src *v1.ServiceAccountTokenProjection) (map[string]file, error) {
	if pod.IsStatic(p) || v.Tokens == nil {
		return nil, errors.New("service account tokens need a pod of the API")
	}
	// What cannot be read was not left.
	have, _ := os.ReadFile(filepath.Join(v.path(p.UID, "projected", volume), dataLink, src.Path))
	data, err := v.Tokens.Token(ctx, p, src.Audience, src.ExpirationSeconds, have)
	if err != nil {
		return nil, err
	}
	return map[string]file{src.Path: private(p, data, in, src.User)}, nil
}

func (v *Volumes) bundle(ctx context.Context, p *v1.Pod, in *v1.ProjectedVolumeSource, src *v1.ClusterTrustBundleProjection) (map[string]file, error) {
	if pod.IsStatic(p) || v.Bundles == nil {
		return nil, errors.New("ClusterTrustBundle projection is not supported in static kubelet mode")
	}
	data, err := v.Bundles.Bundle(ctx, src)
	if err != nil {
		return nil, err
	}
	return map[string]file{src.Path: private(p, data, in, src.User)}, nil
}

func (v *Volumes) certificate(ctx context.Context, p *v1.Pod, volume string, in *v1.ProjectedVolumeSource, i int) (map[string]file, error) {
	if pod.IsStatic(p) || v.Certificates == nil {
		return nil, errors.New("pod certificates need a pod of the API")
	}
	src := in.Sources[i].PodCertificate
	key, chain, err := v.Certificates.Certificate(ctx, p, volume, i)
	if err != nil {
		return nil, err
	}
	files := map[string]file{}
	for path, data := range map[string][]byte{
		src.CredentialBundlePath: slices.Concat(key, chain), src.KeyPath: key, src.CertificateChainPath: chain,
	} {
		if path != "" {
			files[path] = private(p, data, in, src.User)
		}
	}
	return files, nil
}

// private returns a file that only the pod is to read where it is known who
// that is: all its containers run as one user, or its group owns the volume.
func private(p *v1.Pod, data []byte, in *v1.ProjectedVolumeSource, user *int64) file {
	f := file{data: data, mode: fileMode(nil, in.DefaultMode), owner: first(user, in.DefaultUser, onlyUser(p))}
	if f.owner != nil || fsGroup(p) != nil {
		f.mode = os.FileMode(0o600)
	}
	return f
}

// onlyUser returns the user that all containers of p are told to run as, nil
// where one is not told or two differ.
func onlyUser(p *v1.Pod) *int64 {
	var only *int64
	for _, c := range pod.Containers(p) {
		if c.Kind == pod.Ephemeral {
			continue
		}
		var user *int64
		if sc := p.Spec.SecurityContext; sc != nil {
			user = sc.RunAsUser
		}
		if c.SecurityContext != nil {
			user = first(c.SecurityContext.RunAsUser, user)
		}
		if user == nil || only != nil && *only != *user {
			return nil
		}
		only = user
	}
	return only
}
