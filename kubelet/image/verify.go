package image

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/distribution/reference"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/credential"
)

// A Verification says for which images that are there already a pod must show
// that it could have pulled them (KEP-2535).
type Verification struct {
	Policy kubeletv1beta1.ImagePullCredentialsVerificationPolicy
	// Allowed are names without tag, or prefixes that end in "/*", for the policy
	// NeverVerifyAllowlistedImages.
	Allowed []string
}

// needed reports whether a pod must show it. Pulled says whether the loop pulled
// the image at some time.
func (v Verification) needed(image string, pulled bool) bool {
	switch v.Policy {
	case kubeletv1beta1.AlwaysVerify:
		return true
	case kubeletv1beta1.NeverVerifyAllowlistedImages:
		return !v.allows(bare(image))
	case kubeletv1beta1.NeverVerifyPreloadedImages:
		return pulled
	case kubeletv1beta1.NeverVerify:
	}
	return false
}

func (v Verification) allows(image string) bool {
	return slices.ContainsFunc(v.Allowed, func(pattern string) bool {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(image, prefix)
		}
		return image == pattern
	})
}

// bare returns an image's name as the pod wrote it, without tag and digest.
func bare(image string) string {
	parsed, err := reference.Parse(image)
	if err != nil {
		return image
	}
	if d, ok := parsed.(reference.Digested); ok {
		image = strings.TrimSuffix(image, "@"+d.Digest().String())
	}
	if t, ok := parsed.(reference.Tagged); ok {
		image = strings.TrimSuffix(image, ":"+t.Tag())
	}
	return image
}

// maxGrants bounds how many secrets are added to a record because they hold
// what another did: namespaces may come and go by the thousand.
const maxGrants = 100

// mayUse reports whether a pod may have an image that is there. Where the
// records cannot be read it must show that it may.
func (u *Puller) mayUse(ctx context.Context, r request, image *cri.Image) bool {
	if u.records == nil {
		return true
	}
	u.recover(ctx)
	record, pulled, err := u.records.find(r.image, image.Id)
	if err != nil {
		u.o.Log.LogAttrs(ctx, slog.LevelWarn, "read record of pulled image", slog.String("image", r.image), slog.Any("err", err))
		return false
	}
	if !u.o.Verify.needed(r.image, pulled) {
		return true
	}
	grant, ok := record.CredentialMapping[bare(r.image)]
	switch {
	case !ok:
		return false
	case grant.NodePodsAccessible:
		return true
	case len(grant.KubernetesSecrets)+len(grant.KubernetesServiceAccounts) == 0:
		return false
	}
	return u.holdsOneOf(ctx, r, image.Id, grant)
}

// holdsOneOf reports whether the pod has one of the credentials that the image
// came by: the same object, or another with the same in it, which is recorded
// then.
func (u *Puller) holdsOneOf(ctx context.Context, r request, id string, grant kubeletv1beta1.ImagePullCredentials) bool {
	found, _ := u.credentials(ctx, r)
	for _, c := range found {
		own := grantOf([]credential.Credential{c}, 0)
		switch c.From.Kind {
		case credential.Secret:
			if !slices.ContainsFunc(grant.KubernetesSecrets, func(s kubeletv1beta1.ImagePullSecret) bool {
				return s.CredentialHash == own.KubernetesSecrets[0].CredentialHash || sameSecret(s, own.KubernetesSecrets[0])
			}) {
				continue
			}
			if len(grant.KubernetesSecrets) < maxGrants {
				if err := u.records.add(r.image, id, own); err != nil {
					u.o.Log.LogAttrs(ctx, slog.LevelWarn, "record pulled image", slog.String("image", r.image), slog.Any("err", err))
				}
			}
			return true
		case credential.ServiceAccount:
			if slices.Contains(grant.KubernetesServiceAccounts, own.KubernetesServiceAccounts[0]) {
				return true
			}
		case credential.Node:
		}
	}
	return false
}

func sameSecret(a, b kubeletv1beta1.ImagePullSecret) bool {
	return a.UID == b.UID && a.Namespace == b.Namespace && a.Name == b.Name
}

// grantOf returns who may use an image that came by the credential that was
// used: everybody, if that is nobody's in particular.
func grantOf(with []credential.Credential, used int) kubeletv1beta1.ImagePullCredentials {
	if used < 0 || with[used].From.Kind == credential.Node {
		return kubeletv1beta1.ImagePullCredentials{NodePodsAccessible: true}
	}
	c := with[used]
	if c.From.Kind == credential.ServiceAccount {
		return kubeletv1beta1.ImagePullCredentials{KubernetesServiceAccounts: []kubeletv1beta1.ImagePullServiceAccount{
			{UID: c.From.UID, Namespace: c.From.Namespace, Name: c.From.Name},
		}}
	}
	return kubeletv1beta1.ImagePullCredentials{KubernetesSecrets: []kubeletv1beta1.ImagePullSecret{
		{UID: c.From.UID, Namespace: c.From.Namespace, Name: c.From.Name, CredentialHash: c.Hash()},
	}}
}
