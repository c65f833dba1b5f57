package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"boot.internal/config"
	"boot.internal/kubelet/identity"
	"boot.internal/kubelet/local"
)

// A Rotation is this node's part in the rotation of the cluster's authorities.
type Rotation interface {
	// Converge has what the node trusts and holds be as a stage asks for, and returns
	// once whoever uses it does so. Stage is "<id>/<stage>", and told the ConfigMap
	// that says what is rotated. It may be called again, and asks no API server.
	Converge(ctx context.Context, stage string, told map[string]string) (Converged, error)
}

// Converged is what there is left to do for the loop, and to tell.
type Converged struct {
	// Recipient is the public key that the node is sent secrets by; nil for none.
	Recipient []byte
	// Sign says by whom the certificates have to be signed that the node asks the
	// cluster for; nil if that is of no concern.
	Sign *identity.Authority
}

const (
	// rotationAgain is how soon a stage that was not reached is tried again, at first
	// and at most.
	rotationAgain, rotationSeldom = 5 * time.Second, time.Minute
	// rotationCall bounds a request, and askPatience what is asked of signers.
	rotationCall, askPatience = 10 * time.Second, 2 * time.Minute
)

// A rotator does what the annotations of its Node ask for, and says so there.
//
//	told ──► converged ──► asked for certificates ──► answered
//	  ▲          │ error            │ error              │
//	  └──────────┴── a pause ◄──────┘        until told otherwise
//
// That of nil does nothing.
type rotator struct {
	name     string
	rotation Rotation
	ask      func(context.Context, identity.Authority) error
	event    func(kind, reason, message string)
	log      *slog.Logger
	wake     chan struct{} // capacity 1

	mu      sync.Mutex // guards what follows
	wanted  string     // stage
	done    string
	trouble string // of the last attempt
}

// newRotator makes what follows rotations, nil where there is nothing to rotate.
func (k *kubelet) newRotator() *rotator {
	if k.o.Rotation == nil {
		return nil
	}
	return &rotator{
		name: k.o.Node, rotation: k.o.Rotation, ask: k.askSigners, event: k.events.ofNode, log: k.o.Logger, wake: make(chan struct{}, 1),
	}
}

// followsRotation is how the Node says that its loop follows rotations.
func (k *kubelet) followsRotation() map[string]string {
	if k.o.Rotation == nil {
		return nil
	}
	return map[string]string{config.RotationFollows: "v1"}
}

// askSigners asks for the certificates of the node that an authority has not signed.
func (k *kubelet) askSigners(ctx context.Context, by identity.Authority) error {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	client := k.identity.client.Load()
	if err := client.Ask(ctx, by); err != nil {
		return err
	}
	if k.identity.serving == nil {
		return nil
	}
	return k.identity.serving.Ask(ctx, client.API, by)
}

// nodeIs takes in the Node, nil if there is none.
func (r *rotator) nodeIs(n *v1.Node) {
	if r == nil || n == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted, r.done = n.Annotations[config.RotationWanted], n.Annotations[config.RotationDone]
	r.trouble = n.Annotations[config.RotationTrouble]
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// state is what commands on this host are told; nil while no rotation is under way.
func (r *rotator) state() *local.Rotation {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted == "" {
		return nil
	}
	return &local.Rotation{Stage: r.wanted, Reached: r.wanted == r.done, Trouble: r.trouble}
}

// due is the stage to get to; none if the node is there, or nobody has told it.
func (r *rotator) due() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted == r.done {
		return ""
	}
	return r.wanted
}

// run does what it is told until ctx ends.
func (r *rotator) run(ctx context.Context, client typedv1.CoreV1Interface) {
	if r == nil {
		return
	}
	var failed int
	var before string // the stage that was answered for, or failed at
	for {
		stage := r.due()
		if stage == "" || stage == before && failed == 0 { // the watch is behind the answer
			select {
			case <-r.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if stage != before {
			before, failed = stage, 0
		}
		if r.obey(ctx, client, stage) {
			failed = 0
			continue
		}
		failed++
		if !r.pause(ctx, stage, min(rotationAgain<<min(failed-1, 6), rotationSeldom)) {
			return
		}
	}
}

// pause waits before a stage is tried again, unless another is wanted meanwhile. It
// reports whether ctx goes on.
func (r *rotator) pause(ctx context.Context, stage string, long time.Duration) bool {
	over := time.After(long)
	for {
		select {
		case <-over:
			return true
		case <-r.wake:
			if r.due() != stage {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

// obey gets the node to a stage, and reports whether it is there and has said so.
func (r *rotator) obey(ctx context.Context, client typedv1.CoreV1Interface, stage string) bool {
	r.log.LogAttrs(ctx, slog.LevelInfo, "rotate authorities", slog.String("stage", stage))
	answer, err := r.reach(ctx, client, stage)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		r.log.LogAttrs(ctx, slog.LevelError, "rotate authorities", slog.String("stage", stage), slog.Any("err", err))
		r.event(v1.EventTypeWarning, "AuthorityRotationFailed", firstOf("Get to "+stage+": "+err.Error()))
		answer = map[string]any{config.RotationTrouble: firstOf(stage + ": " + err.Error())}
	}
	if told := r.answer(ctx, client, answer); told != nil && ctx.Err() == nil {
		r.log.LogAttrs(ctx, slog.LevelWarn, "tell of the rotation", slog.String("stage", stage), slog.Any("err", told))
		return false
	}
	if err == nil {
		r.event(v1.EventTypeNormal, "AuthorityRotation", "Got to "+stage)
	}
	return err == nil
}

// reach does what there is to do, and returns the annotations that answer.
func (r *rotator) reach(ctx context.Context, client typedv1.CoreV1Interface, stage string) (map[string]any, error) {
	limited, cancel := context.WithTimeout(ctx, rotationCall)
	defer cancel()
	told, err := client.ConfigMaps(metav1.NamespaceSystem).Get(limited, config.RotationMap, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read what is rotated: %w", err)
	}
	converged, err := r.rotation.Converge(ctx, stage, told.Data)
	if err != nil {
		return nil, err
	}
	if converged.Sign != nil {
		if err := r.ask(ctx, *converged.Sign); err != nil {
			return nil, err
		}
	}
	answer := map[string]any{config.RotationDone: stage, config.RotationTrouble: nil}
	if converged.Recipient != nil {
		answer[config.RotationRecipient] = converged.Recipient // encoded in base64
	}
	return answer, nil
}

// answer puts annotations on the Node; nil takes one off.
func (r *rotator) answer(ctx context.Context, client typedv1.CoreV1Interface, annotations map[string]any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, rotationCall)
	defer cancel()
	_, err = client.Nodes().Patch(limited, r.name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}
