package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// driverLimit is the file that holds how many volumes a driver takes.
func driverLimit(name string) string { return driverDir(name) + "/limit" }

// limitOf is what a driver answers: 7, unless somebody has written down another
// number.
func limitOf(name string) int64 {
	text, err := os.ReadFile(driverLimit(name))
	if err != nil {
		return 7
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return 7 // it is being written
	}
	return n
}

// How many volumes a driver takes is asked for now and then, and at once when one
// was too many. The pod fails then, after the two minutes that a volume has to be
// attached.
func testCSILimit(t *testing.T, c *podCluster) {
	d, _ := c.driver(t, func(s *storagev1.CSIDriverSpec) {
		s.AttachRequired, s.NodeAllocatableUpdatePeriodSeconds = new(true), new(int64(10))
	})
	handle := "vol-" + c.Namespace
	c.volume(t, "data", csiSource(d.name, handle))
	p := sleeper("user")
	c.mount(p, "data", claimed("data", false))
	c.Create(t, p)
	c.WriteFile(t, driverLimit(d.name), "3")
	lab.Until(t, patience, "see the new limit of driver "+d.name, func(ctx context.Context) error {
		n, err := c.Client.StorageV1().CSINodes().Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, have := range n.Spec.Drivers {
			if have.Name == d.name && have.Allocatable != nil && *have.Allocatable.Count == 3 {
				return nil
			}
		}
		return fmt.Errorf("it says %+v", n.Spec.Drivers)
	})
	c.answerAttach(t, handle, func(s *storagev1.VolumeAttachmentStatus) {
		s.AttachError = &storagev1.VolumeError{Message: "no room", ErrorCode: new(int32(codes.ResourceExhausted))}
	})
	lab.Until(t, 3*patience, "see the pod rejected", func(ctx context.Context) error {
		p, err := c.Client.CoreV1().Pods(c.Namespace).Get(ctx, "user", metav1.GetOptions{})
		if err == nil && (p.Status.Phase != corev1.PodFailed || p.Status.Reason != "VolumeAttachmentLimitExceeded" ||
			!strings.HasPrefix(p.Status.Message, "Pod was rejected: Node has reached its volume attachment limit")) {
			err = fmt.Errorf("it is %s: %s: %s", p.Status.Phase, p.Status.Reason, p.Status.Message)
		}
		return err
	})
}
