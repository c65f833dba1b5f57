package pod

// Labels on CRI sandboxes and containers, spelled as the upstream kubelet
// spells them (k8s.io/cri-client/pkg/types), so that crictl works and another
// agent could take over.
const (
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelContainerName = "io.kubernetes.container.name"
)

// Annotations on CRI containers. Those of io.kubernetes are the upstream
// kubelet's; those of boot.internal hold what a fresh boot needs to go on with
// a pod whose manifest it may never see again.
const (
	AnnotationHash                   = "io.kubernetes.container.hash"
	AnnotationRestartCount           = "io.kubernetes.container.restartCount"
	AnnotationTerminationMessagePath = "io.kubernetes.container.terminationMessagePath"
	AnnotationTerminationPolicy      = "io.kubernetes.container.terminationMessagePolicy"
	AnnotationPreStop                = "io.kubernetes.container.preStopHandler" // JSON of v1.LifecycleHandler
	AnnotationPorts                  = "io.kubernetes.container.ports"          // JSON of []v1.ContainerPort
	AnnotationGrace                  = "io.kubernetes.pod.terminationGracePeriod"

	AnnotationKind    = "boot.internal/container-kind"  // a Kind
	AnnotationIndex   = "boot.internal/container-index" // position in its list
	AnnotationBackoff = "boot.internal/restart-backoff" // see Container.Backoff
)

// Annotations on pods (SP-24). ConfigHash is the pod's UID, unless the user
// fixed the UID: then it is the hash of the document, so that a change of the
// document still reaches the mirror (SP-40).
const (
	ConfigHash   = "kubernetes.io/config.hash"
	ConfigSource = "kubernetes.io/config.source"
	ConfigSeen   = "kubernetes.io/config.seen"
	ConfigMirror = "kubernetes.io/config.mirror"

	SourceFile = "file"
	SourceHTTP = "http"
	SourceAPI  = "api"
)
