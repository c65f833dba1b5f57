package node

// DeclaredFeatures are the features of this kind of node that others look for
// before they rely on them: the scheduler places pods that need one only where it
// is declared, and the API server lets pods be changed accordingly (KEP-5328).
// Their names are those of k8s.io/component-helpers/nodedeclaredfeatures, sorted.
func DeclaredFeatures() []string {
	return []string{
		"ExtendWebSocketsToKubelet",
		"InPlacePodLevelResourcesVerticalScaling",
		"InPlacePodVerticalScalingInitContainers",
		"RestartAllContainersOnContainerExits",
	}
}
