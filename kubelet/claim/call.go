package claim

import (
	"context"
	"fmt"
	"time"

	dra "k8s.io/kubelet/pkg/apis/dra/v1"
	drav1beta1 "k8s.io/kubelet/pkg/apis/dra/v1beta1"
)

// callTimeout is what a driver is given to answer; it is upstream's.
const callTimeout = 45 * time.Second

// client returns the driver as it is spoken to here, whatever version it speaks.
func (i *instance) client() dra.DRAPluginClient {
	if i.service == drav1beta1.DRAPluginService {
		return drav1beta1.V1Beta1ClientWrapper{DRAPluginClient: drav1beta1.NewDRAPluginClient(i.conn)}
	}
	return dra.NewDRAPluginClient(i.conn)
}

// prepare has the driver prepare claims, and returns what it answered for each, by
// UID. All of them went well.
func (i *instance) prepare(ctx context.Context, claims []*dra.Claim) (map[string]*dra.NodePrepareResourceResponse, error) {
	const call = "NodePrepareResources"
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := i.client().NodePrepareResources(ctx, &dra.NodePrepareResourcesRequest{Claims: claims})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", call, err)
	}
	return resp.Claims, checkAnswers(call, claims, resp.Claims)
}

// unprepare has the driver take claims back.
func (i *instance) unprepare(ctx context.Context, claims []*dra.Claim) error {
	const call = "NodeUnprepareResources"
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := i.client().NodeUnprepareResources(ctx, &dra.NodeUnprepareResourcesRequest{Claims: claims})
	if err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	return checkAnswers(call, claims, resp.Claims)
}

// checkAnswers returns an error unless each claim was answered for, and well, and
// no other.
func checkAnswers[A interface{ GetError() string }](call string, claims []*dra.Claim, answers map[string]A) error {
	left := len(answers)
	missing := 0
	for _, c := range claims {
		a, ok := answers[c.Uid]
		if !ok {
			missing++
			continue
		}
		left--
		if e := a.GetError(); e != "" {
			return fmt.Errorf("%s failed for ResourceClaim %s: %s", call, c.Name, e)
		}
	}
	if left > 0 {
		return fmt.Errorf("%s returned result for unknown claim UID", call)
	}
	if missing > 0 {
		return fmt.Errorf("%s skipped %d ResourceClaims", call, missing)
	}
	return nil
}
