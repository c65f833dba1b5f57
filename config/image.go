package config

import "regexp"

// The versions that go with every Kubernetes version boot supports.
const (
	etcdTag    = "3.7.0-0"
	coreDNSTag = "v1.14.6"
	pauseTag   = "3.10.2"
)

// Image returns the image of a component, one of the Component constants, as
// the cluster wants it; it is empty for any other name.
func (c *ClusterConfiguration) Image(component string) string {
	var own ImageMeta
	repository, tag := c.ImageRepository, ""
	switch component {
	case ComponentAPIServer, ComponentControllerManager, ComponentScheduler, ComponentProxy:
		tag = imageTag(c.KubernetesVersion)
	case ComponentPause:
		tag = pauseTag
	case ComponentEtcd:
		tag = etcdTag
		if c.Etcd.Local != nil {
			own = c.Etcd.Local.ImageMeta
		}
	case ComponentCoreDNS:
		tag, own = coreDNSTag, c.DNS.ImageMeta
	default:
		return ""
	}
	if own.ImageRepository != "" {
		repository = own.ImageRepository
	}
	if own.ImageTag != "" {
		tag = own.ImageTag
	}
	if component == ComponentCoreDNS && repository == DefaultImageRepository {
		repository += "/coredns" // upstream alone nests it
	}
	return repository + "/" + component + ":" + tag
}

// imageTag replaces what a version may hold and a tag may not.
func imageTag(version string) string {
	return regexp.MustCompile(`[^-\w.]`).ReplaceAllString(version, "_")
}

// Images returns the images that a control plane of the cluster needs, in
// kubeadm's order.
func (i *Init) Images() []string {
	c := &i.Cluster
	components := []string{ComponentAPIServer, ComponentControllerManager, ComponentScheduler}
	if !c.Proxy.Disabled {
		components = append(components, ComponentProxy)
	}
	if !c.DNS.Disabled {
		components = append(components, ComponentCoreDNS)
	}
	components = append(components, ComponentPause)
	if c.Etcd.Local != nil {
		components = append(components, ComponentEtcd)
	}
	var images []string
	for _, component := range components {
		images = append(images, c.Image(component))
	}
	return images
}
