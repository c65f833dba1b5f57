package manifest

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"boot.internal/kubelet/pod"
)

// containers checks both lists. Names are unique across them; host ports clash
// among regular containers, and within one init container alone, since those
// run one after the other (IC-3).
func (c *checker) containers(spec *field.Path) {
	path := spec.Child("containers")
	if len(c.pod.Spec.Containers) == 0 {
		c.add(field.Required(path, "a pod has at least one container"))
	}
	names, ports := map[string]bool{}, map[string]bool{}
	for i := range c.pod.Spec.Containers {
		ctr := &c.pod.Spec.Containers[i]
		c.container(path.Index(i), ctr, names)
		c.hostPorts(path.Index(i).Child("ports"), ctr.Ports, ports)
		c.lifecycleAndProbes(path.Index(i), ctr)
	}
	path = spec.Child("initContainers")
	for i := range c.pod.Spec.InitContainers {
		ctr := &c.pod.Spec.InitContainers[i]
		c.container(path.Index(i), ctr, names)
		c.hostPorts(path.Index(i).Child("ports"), ctr.Ports, map[string]bool{})
		if pod.IsSidecar(ctr) {
			c.lifecycleAndProbes(path.Index(i), ctr)
		} else {
			c.plainInit(path.Index(i), ctr)
		}
	}
}

// plainInit refuses what only sidecars may have (IC-2).
func (c *checker) plainInit(path *field.Path, ctr *v1.Container) {
	for name, set := range map[string]bool{
		"lifecycle": ctr.Lifecycle != nil, "livenessProbe": ctr.LivenessProbe != nil,
		"readinessProbe": ctr.ReadinessProbe != nil, "startupProbe": ctr.StartupProbe != nil,
	} {
		if set {
			c.add(field.Forbidden(path.Child(name), "may not be set for init containers without restartPolicy=Always"))
		}
	}
}

func (c *checker) container(path *field.Path, ctr *v1.Container, names map[string]bool) {
	if names[ctr.Name] {
		c.add(field.Duplicate(path.Child("name"), ctr.Name))
	}
	names[ctr.Name] = true
	c.label(path.Child("name"), ctr.Name)
	if ctr.Image == "" {
		c.add(field.Required(path.Child("image"), ""))
	}
	oneOf(c, path.Child("imagePullPolicy"), ctr.ImagePullPolicy, v1.PullAlways, v1.PullIfNotPresent, v1.PullNever)
	oneOf(c, path.Child("terminationMessagePolicy"), ctr.TerminationMessagePolicy,
		v1.TerminationMessageReadFile, v1.TerminationMessageFallbackToLogsOnError)
	c.restartPolicy(path, ctr)
	c.ports(path.Child("ports"), ctr.Ports)
	c.env(path.Child("env"), ctr.Env)
	c.mounts(path, ctr)
	c.resources(path.Child("resources"), &ctr.Resources)
	c.security(path.Child("securityContext"), ctr.SecurityContext)
}

// label checks a name that must be there and be a DNS label.
func (c *checker) label(path *field.Path, name string) {
	if name == "" {
		c.add(field.Required(path, ""))
		return
	}
	c.invalid(path, name, validation.IsDNS1123Label(name)...)
}

func (c *checker) restartPolicy(path *field.Path, ctr *v1.Container) {
	optional(c, path.Child("restartPolicy"), ctr.RestartPolicy,
		v1.ContainerRestartPolicyAlways, v1.ContainerRestartPolicyOnFailure, v1.ContainerRestartPolicyNever)
	if len(ctr.RestartPolicyRules) > 0 && ctr.RestartPolicy == nil {
		c.add(field.Required(path.Child("restartPolicy"), "restartPolicyRules need one"))
	}
	for i, rule := range ctr.RestartPolicyRules {
		at := path.Child("restartPolicyRules").Index(i)
		oneOf(c, at.Child("action"), rule.Action,
			v1.ContainerRestartRuleActionRestart, v1.ContainerRestartRuleActionRestartAllContainers)
		if rule.ExitCodes == nil {
			c.add(field.Required(at.Child("exitCodes"), ""))
			continue
		}
		oneOf(c, at.Child("exitCodes", "operator"), rule.ExitCodes.Operator,
			v1.ContainerRestartRuleOnExitCodesOpIn, v1.ContainerRestartRuleOnExitCodesOpNotIn)
	}
}

func (c *checker) ports(path *field.Path, ports []v1.ContainerPort) {
	names := map[string]bool{}
	for i, p := range ports {
		at := path.Index(i)
		if p.Name != "" {
			c.invalid(at.Child("name"), p.Name, validation.IsValidPortName(p.Name)...)
			if names[p.Name] {
				c.add(field.Duplicate(at.Child("name"), p.Name))
			}
			names[p.Name] = true
		}
		c.invalid(at.Child("containerPort"), p.ContainerPort, validation.IsValidPortNum(int(p.ContainerPort))...)
		if p.HostPort != 0 {
			c.invalid(at.Child("hostPort"), p.HostPort, validation.IsValidPortNum(int(p.HostPort))...)
		}
		if c.pod.Spec.HostNetwork && p.HostPort != p.ContainerPort {
			c.invalid(at.Child("hostPort"), p.HostPort, "must match containerPort on the host network")
		}
		oneOf(c, at.Child("protocol"), p.Protocol, v1.ProtocolTCP, v1.ProtocolUDP, v1.ProtocolSCTP)
	}
}

func (c *checker) hostPorts(path *field.Path, ports []v1.ContainerPort, taken map[string]bool) {
	for i, p := range ports {
		if p.HostPort == 0 {
			continue
		}
		key := fmt.Sprintf("%s/%s/%d", p.Protocol, p.HostIP, p.HostPort)
		if taken[key] {
			c.add(field.Duplicate(path.Index(i).Child("hostPort"), key))
		}
		taken[key] = true
	}
}

func (c *checker) mounts(path *field.Path, ctr *v1.Container) {
	seen := map[string]bool{}
	for i, m := range ctr.VolumeMounts {
		at := path.Child("volumeMounts").Index(i)
		if !slices.ContainsFunc(c.pod.Spec.Volumes, func(v v1.Volume) bool { return v.Name == m.Name }) {
			c.add(field.NotFound(at.Child("name"), m.Name))
		}
		switch {
		case m.MountPath == "":
			c.add(field.Required(at.Child("mountPath"), ""))
		case seen[m.MountPath]:
			c.invalid(at.Child("mountPath"), m.MountPath, "must be unique")
		}
		seen[m.MountPath] = true
		c.subPaths(at, m)
		c.mountModes(at, m, ctr)
	}
	for i, d := range ctr.VolumeDevices {
		c.add(field.Forbidden(path.Child("volumeDevices").Index(i), fmt.Sprintf(
			"%s is no block volume: those are persistent volume claims, which static pods cannot have", d.Name)))
	}
}

func (c *checker) subPaths(path *field.Path, m v1.VolumeMount) {
	if m.SubPath != "" && m.SubPathExpr != "" {
		c.invalid(path.Child("subPathExpr"), m.SubPathExpr, "not together with subPath")
	}
	c.descending(path.Child("subPath"), m.SubPath)
	c.descending(path.Child("subPathExpr"), m.SubPathExpr)
}

func (c *checker) mountModes(path *field.Path, m v1.VolumeMount, ctr *v1.Container) {
	optional(c, path.Child("mountPropagation"), m.MountPropagation,
		v1.MountPropagationNone, v1.MountPropagationHostToContainer, v1.MountPropagationBidirectional)
	if m.MountPropagation != nil && *m.MountPropagation == v1.MountPropagationBidirectional && !privileged(ctr) {
		c.add(field.Forbidden(path.Child("mountPropagation"), "Bidirectional is for privileged containers alone"))
	}
	optional(c, path.Child("recursiveReadOnly"), m.RecursiveReadOnly,
		v1.RecursiveReadOnlyDisabled, v1.RecursiveReadOnlyIfPossible, v1.RecursiveReadOnlyEnabled)
	if m.RecursiveReadOnly != nil && *m.RecursiveReadOnly != v1.RecursiveReadOnlyDisabled && !m.ReadOnly {
		c.add(field.Forbidden(path.Child("recursiveReadOnly"), "only together with readOnly: true"))
	}
}

func privileged(ctr *v1.Container) bool {
	s := ctr.SecurityContext
	return s != nil && s.Privileged != nil && *s.Privileged
}

func (c *checker) security(path *field.Path, s *v1.SecurityContext) {
	if s == nil {
		return
	}
	c.id(path.Child("runAsUser"), s.RunAsUser, validation.IsValidUserID)
	c.id(path.Child("runAsGroup"), s.RunAsGroup, validation.IsValidGroupID)
	optional(c, path.Child("procMount"), s.ProcMount, v1.DefaultProcMount, v1.UnmaskedProcMount)
	c.seccomp(path.Child("seccompProfile"), s.SeccompProfile)
	c.appArmor(path.Child("appArmorProfile"), s.AppArmorProfile)
	if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
		return
	}
	if s.Privileged != nil && *s.Privileged {
		c.invalid(path.Child("allowPrivilegeEscalation"), false, "a privileged container can always escalate")
	}
}

func (c *checker) seccomp(path *field.Path, p *v1.SeccompProfile) {
	if p == nil {
		return
	}
	oneOf(c, path.Child("type"), p.Type,
		v1.SeccompProfileTypeLocalhost, v1.SeccompProfileTypeRuntimeDefault, v1.SeccompProfileTypeUnconfined)
	c.localhostProfile(path, p.Type == v1.SeccompProfileTypeLocalhost, p.LocalhostProfile)
	if p.LocalhostProfile != nil {
		c.descending(path.Child("localhostProfile"), *p.LocalhostProfile)
	}
}

func (c *checker) appArmor(path *field.Path, p *v1.AppArmorProfile) {
	if p == nil {
		return
	}
	oneOf(c, path.Child("type"), p.Type,
		v1.AppArmorProfileTypeLocalhost, v1.AppArmorProfileTypeRuntimeDefault, v1.AppArmorProfileTypeUnconfined)
	c.localhostProfile(path, p.Type == v1.AppArmorProfileTypeLocalhost, p.LocalhostProfile)
}

func (c *checker) localhostProfile(path *field.Path, local bool, profile *string) {
	path = path.Child("localhostProfile")
	switch {
	case local && (profile == nil || *profile == ""):
		c.add(field.Required(path, "type Localhost needs one"))
	case !local && profile != nil:
		c.invalid(path, *profile, "only for type Localhost")
	}
}
