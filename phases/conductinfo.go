package phases

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"

	"boot.internal/hint"
)

// clusterInfo returns the phase that has nodes which join trust what is to be
// trusted from a stage on. The signatures of tokens follow by themselves.
func (c conductor) clusterInfo(s RotationStage) Phase {
	return PlanFunc(func(ctx context.Context) ([]Change, error) {
		told, err := c.told(ctx)
		if err != nil || told.past(s) {
			return nil, err
		}
		have, want, err := c.infoOf(ctx, told, s)
		if err != nil || have == "" || have == want {
			return nil, err
		}
		return []Change{{"update the ConfigMap " + metav1.NamespacePublic + "/" + bootstrapapi.ConfigMapClusterInfo, func(ctx context.Context) error {
			return c.writeInfo(ctx, s)
		}}}, nil
	})
}

// infoOf returns the kubeconfig that strangers are shown, and the one that they are
// to be shown; nothing where they are shown none. Before there is a rotation, only
// that it is to be another is known.
func (c conductor) infoOf(ctx context.Context, told *ToldRotation, s RotationStage) (have, want string, err error) {
	err = c.call(ctx, func(ctx context.Context, client kubernetes.Interface) error {
		m, err := client.CoreV1().ConfigMaps(metav1.NamespacePublic).Get(ctx, bootstrapapi.ConfigMapClusterInfo, metav1.GetOptions{})
		if err == nil {
			have = m.Data[bootstrapapi.KubeConfigKey]
		}
		return gone(err)
	})
	switch {
	case err != nil || have == "":
		return have, "", err
	case told == nil:
		return have, "", nil
	}
	want, err = told.reinform(have, s)
	return have, want, err
}

// reinform returns a kubeconfig with the authorities to trust from a stage on.
func (r Rotation) reinform(text string, s RotationStage) (string, error) {
	if !r.rotates(RotateCluster) {
		return text, nil
	}
	conf, err := clientcmd.Load([]byte(text))
	if err != nil {
		return "", fmt.Errorf("read the ConfigMap %s: %w", bootstrapapi.ConfigMapClusterInfo, err)
	}
	changed := false
	for _, cluster := range conf.Clusters {
		ca := r.trusted(RotateCluster, s)
		changed = changed || !bytes.Equal(bytes.TrimSpace(cluster.CertificateAuthorityData), bytes.TrimSpace(ca))
		cluster.CertificateAuthorityData = ca
	}
	if !changed { // written by somebody else, it may well look different
		return text, nil
	}
	data, err := clientcmd.Write(*conf)
	return string(data), err
}

// trusted is what is to be trusted in the place of an authority from a stage on.
func (r Rotation) trusted(name string, s RotationStage) []byte {
	for _, a := range r.Authorities {
		switch {
		case a.Name != name:
		case s == RotationDrop:
			return []byte(a.New)
		default:
			return []byte(a.Old + a.New)
		}
	}
	return nil
}

func (c conductor) writeInfo(ctx context.Context, s RotationStage) error {
	told, err := c.told(ctx)
	if err != nil {
		return err
	}
	if told == nil {
		return errNobodyTold
	}
	_, want, err := c.infoOf(ctx, told, s)
	if err != nil || want == "" {
		return err
	}
	patch, err := json.Marshal(object{"data": object{bootstrapapi.KubeConfigKey: want}})
	if err != nil {
		return err
	}
	return c.call(ctx, func(ctx context.Context, client kubernetes.Interface) error {
		_, err := client.CoreV1().ConfigMaps(metav1.NamespacePublic).Patch(ctx, bootstrapapi.ConfigMapClusterInfo, types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	})
}

// The ConfigMap in which API servers tell those that extend them whom they take
// certificates of clients from. They add to it, and take from it only what has ended.
const publishedClients = "extension-apiserver-authentication"

// How it is with what the API servers tell.
var (
	errUnwritten = errors.New("no API server has written it yet")
	errStale     = errors.New("an API server still trusts the old authorities")
)

// clients has the API servers write anew whom they trust: they make it again of what
// their files say.
func (c conductor) clients(ctx context.Context) ([]Change, error) {
	told, err := c.told(ctx)
	if told == nil || err != nil || told.past(RotationDrop) {
		return nil, err
	}
	name := metav1.NamespaceSystem + "/" + publishedClients
	wait := Change{"wait until the API servers have written the ConfigMap " + name, func(ctx context.Context) error {
		waiting(ctx, "the API servers")
		return until(ctx, c.Timeout, func(ctx context.Context) (bool, error) {
			err := c.published(ctx, told)
			return err == nil || errors.Is(err, errStale), err
		})
	}}
	switch err := c.published(ctx, told); {
	case errors.Is(err, errUnwritten):
		return []Change{wait}, nil
	case errors.Is(err, errStale):
		return []Change{{"delete the ConfigMap " + name + ", which names the old authorities", c.deleteClients}, wait}, nil
	default:
		return nil, err
	}
}

func (c conductor) deleteClients(ctx context.Context) error {
	return c.call(ctx, func(ctx context.Context, client kubernetes.Interface) error {
		return gone(client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Delete(ctx, publishedClients, metav1.DeleteOptions{}))
	})
}

// published says what is wrong with what the API servers tell.
func (c conductor) published(ctx context.Context, told *ToldRotation) error {
	return c.call(ctx, func(ctx context.Context, client kubernetes.Interface) error {
		m, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, publishedClients, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return hint.With(errUnwritten, "see the logs of the API servers")
		case err != nil:
			return err
		}
		for _, text := range m.Data {
			for _, a := range told.Authorities {
				if strings.Contains(text, strings.TrimSpace(a.Old)) {
					return hint.With(errStale, "run the same command again")
				}
			}
		}
		return nil
	})
}
