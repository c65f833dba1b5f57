package config

// How the one who rotates the authorities of a cluster and the loops of its nodes
// talk: a ConfigMap in kube-system says what is rotated, and annotations of a Node
// how far it is to go, and has gone.
const (
	// RotationMap is the ConfigMap, and the Role by which nodes read it.
	RotationMap = "boot-ca-rotation"
	// RotationMapDocument is the key of what is rotated, in JSON.
	RotationMapDocument = "rotation"
	// RotationMapStage is the key of the stage that has begun last.
	RotationMapStage = "stage"
	// RotationMapOrigin is the key of the node that the command runs on.
	RotationMapOrigin = "origin"
	// RotationMapSealed comes before the name of a control plane, in the key of what
	// only that can read: the keys of the new authorities, in base64.
	RotationMapSealed = "sealed."

	// RotationWanted is the annotation of a Node by which it is told to get to a
	// stage: "<id>/<stage>". RotationDone is its answer, with the same value, and
	// RotationTrouble why it is not there yet.
	RotationWanted  = "boot.internal/ca-rotation"
	RotationDone    = "boot.internal/ca-rotation-done"
	RotationTrouble = "boot.internal/ca-rotation-error"
	// RotationRecipient is the annotation with the public key, in base64, that a
	// control plane is sent secrets by.
	RotationRecipient = "boot.internal/ca-rotation-key"
	// RotationFollows is the annotation of a Node whose loop does all this.
	RotationFollows = "boot.internal/ca-rotation-follows"
)
