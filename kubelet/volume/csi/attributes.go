package csi

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/container-storage-interface/spec/lib/go/csi"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// tokensKey is where drivers find tokens, among attributes or secrets.
const tokensKey = "csi.storage.k8s.io/serviceAccount.tokens"

// tellOfPod adds to the request what the driver wants to know of the pod.
func (d *Drivers) tellOfPod(ctx context.Context, v *volume, req *csi.NodePublishVolumeRequest) error {
	req.VolumeContext = v.attributes
	if v.driver == nil {
		return nil
	}
	if ptr.Deref(v.driver.Spec.PodInfoOnMount, false) {
		req.VolumeContext = merged(req.VolumeContext, map[string]string{
			"csi.storage.k8s.io/pod.name":            v.Pod.Name,
			"csi.storage.k8s.io/pod.namespace":       v.Pod.Namespace,
			"csi.storage.k8s.io/pod.uid":             string(v.Pod.UID),
			"csi.storage.k8s.io/serviceAccount.name": v.Pod.Spec.ServiceAccountName,
			"csi.storage.k8s.io/ephemeral":           strconv.FormatBool(!v.persistent()),
		})
	}
	if len(v.driver.Spec.TokenRequests) == 0 || v.block {
		return nil
	}
	tokens, err := d.tokens(ctx, v)
	if err != nil {
		return err
	}
	if ptr.Deref(v.driver.Spec.ServiceAccountTokenInSecrets, false) {
		req.Secrets = merged(req.Secrets, map[string]string{tokensKey: tokens})
		return nil
	}
	req.VolumeContext = merged(req.VolumeContext, map[string]string{tokensKey: tokens})
	return nil
}

// tokens returns tokens of the pod's service account by audience, as drivers
// read them.
func (d *Drivers) tokens(ctx context.Context, v *volume) (string, error) {
	api, err := d.api()
	if err != nil {
		return "", err
	}
	all := map[string]authenticationv1.TokenRequestStatus{}
	for _, want := range v.driver.Spec.TokenRequests {
		req := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			Audiences: []string{}, ExpirationSeconds: want.ExpirationSeconds,
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: v.Pod.Name, UID: v.Pod.UID},
		}}
		if want.Audience != "" {
			req.Spec.Audiences = []string{want.Audience}
		}
		got, err := api.CoreV1().ServiceAccounts(v.Pod.Namespace).CreateToken(ctx, v.Pod.Spec.ServiceAccountName, req, metav1.CreateOptions{})
		if err != nil {
			return "", fmt.Errorf("get service account token: %w", err)
		}
		all[want.Audience] = got.Status
	}
	data, err := json.Marshal(all)
	return string(data), err
}
