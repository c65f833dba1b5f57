package spec

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maskedPaths and readonlyPaths are the parts of /proc and /sys that containers
// do not get to see, or to change.
func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
}

func readonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// containerSecurity returns the security of one container: what it says itself,
// else what its pod says.
func containerSecurity(p *v1.Pod, c *v1.Container, n Node, in ContainerInput) (*cri.LinuxContainerSecurityContext, error) {
	sc, psc := contexts(p, c)
	seccomp, err := seccompProfile(cmp.Or(sc.SeccompProfile, psc.SeccompProfile), n)
	if err != nil {
		return nil, err
	}
	apparmor, err := apparmorProfile(cmp.Or(sc.AppArmorProfile, annotatedAppArmor(p, c.Name), psc.AppArmorProfile))
	if err != nil {
		return nil, err
	}
	out := &cri.LinuxContainerSecurityContext{
		Capabilities:             capabilities(sc.Capabilities),
		Privileged:               isTrue(sc.Privileged),
		NamespaceOptions:         containerNamespaces(p, in),
		SelinuxOptions:           selinux(cmp.Or(sc.SELinuxOptions, psc.SELinuxOptions)),
		RunAsUser:                int64Value(cmp.Or(sc.RunAsUser, psc.RunAsUser)),
		RunAsGroup:               int64Value(cmp.Or(sc.RunAsGroup, psc.RunAsGroup)),
		ReadonlyRootfs:           isTrue(sc.ReadOnlyRootFilesystem),
		SupplementalGroups:       groups(psc),
		SupplementalGroupsPolicy: groupsPolicy(psc),
		NoNewPrivs:               sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation,
		Seccomp:                  seccomp,
		Apparmor:                 apparmor,
	}
	if out.RunAsUser == nil {
		out.RunAsUser, out.RunAsUsername = in.Image.GetUid(), in.Image.GetUsername()
		if out.RunAsUser != nil {
			out.RunAsUsername = ""
		}
	}
	if sc.ProcMount == nil || *sc.ProcMount == v1.DefaultProcMount {
		out.MaskedPaths, out.ReadonlyPaths = append(maskedPaths(), n.MaskedPaths...), readonlyPaths()
	}
	return out, nil
}

// contexts returns the security contexts of c and p, empty where there is none.
func contexts(p *v1.Pod, c *v1.Container) (*v1.SecurityContext, *v1.PodSecurityContext) {
	return cmp.Or(c.SecurityContext, &v1.SecurityContext{}), cmp.Or(p.Spec.SecurityContext, &v1.PodSecurityContext{})
}

// verifyNonRoot refuses to run as root what asks not to be, in the words users
// know from upstream.
func verifyNonRoot(p *v1.Pod, c *v1.Container, image *cri.Image) error {
	sc, psc := contexts(p, c)
	if !isTrue(cmp.Or(sc.RunAsNonRoot, psc.RunAsNonRoot)) {
		return nil
	}
	where := fmt.Sprintf("(pod: %q, container: %s)", podName(p), c.Name)
	if user := cmp.Or(sc.RunAsUser, psc.RunAsUser); user != nil {
		if *user == 0 {
			return fmt.Errorf("container's runAsUser breaks non-root policy %s", where)
		}
		return nil
	}
	switch uid, name := image.GetUid(), image.GetUsername(); {
	case uid != nil && uid.Value == 0, uid == nil && name == "":
		return fmt.Errorf("container has runAsNonRoot and image will run as root %s", where)
	case uid == nil:
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", name, where)
	}
	return nil
}

func seccompProfile(s *v1.SeccompProfile, n Node) (*cri.SecurityProfile, error) {
	if s == nil {
		if n.SeccompDefault {
			return &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}, nil
		}
		return &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined}, nil
	}
	switch s.Type {
	case v1.SeccompProfileTypeRuntimeDefault:
		return &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}, nil
	case v1.SeccompProfileTypeLocalhost:
		if s.LocalhostProfile == nil || *s.LocalhostProfile == "" {
			return nil, errors.New("localhostProfile must be set if seccompProfile type is Localhost")
		}
		return &cri.SecurityProfile{
			ProfileType:  cri.SecurityProfile_Localhost,
			LocalhostRef: filepath.Join(n.SeccompDir, *s.LocalhostProfile),
		}, nil
	default:
		return &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined}, nil
	}
}

// apparmorProfile returns nil where the pod says nothing: the runtime then
// knows whether the node has AppArmor at all.
func apparmorProfile(a *v1.AppArmorProfile) (*cri.SecurityProfile, error) {
	if a == nil {
		return nil, nil
	}
	switch a.Type {
	case v1.AppArmorProfileTypeRuntimeDefault:
		return &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}, nil
	case v1.AppArmorProfileTypeLocalhost:
		if a.LocalhostProfile == nil || *a.LocalhostProfile == "" {
			return nil, errors.New("missing localhost apparmor profile name")
		}
		return &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Localhost, LocalhostRef: *a.LocalhostProfile}, nil
	default:
		return &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined}, nil
	}
}

// annotatedAppArmor returns the profile from the annotation that was there
// before the field: of pods of the API the API server turns it into the field,
// of static ones nobody does.
func annotatedAppArmor(p *v1.Pod, container string) *v1.AppArmorProfile {
	value, ok := p.Annotations[v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+container]
	if !ok {
		return nil
	}
	profile, isLocal := strings.CutPrefix(value, v1.DeprecatedAppArmorBetaProfileNamePrefix)
	switch {
	case value == v1.DeprecatedAppArmorBetaProfileRuntimeDefault:
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeRuntimeDefault}
	case value == v1.DeprecatedAppArmorBetaProfileNameUnconfined:
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeUnconfined}
	case isLocal:
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeLocalhost, LocalhostProfile: &profile}
	default:
		return nil
	}
}

func capabilities(c *v1.Capabilities) *cri.Capability {
	if c == nil {
		return nil
	}
	out := &cri.Capability{}
	for _, add := range c.Add {
		out.AddCapabilities = append(out.AddCapabilities, string(add))
	}
	for _, drop := range c.Drop {
		out.DropCapabilities = append(out.DropCapabilities, string(drop))
	}
	return out
}

func containerNamespaces(p *v1.Pod, in ContainerInput) *cri.NamespaceOption {
	o := namespaces(p, in.Users)
	if in.TargetID != "" && o.Pid == cri.NamespaceMode_CONTAINER {
		o.Pid, o.TargetId = cri.NamespaceMode_TARGET, in.TargetID
	}
	return o
}

func selinux(o *v1.SELinuxOptions) *cri.SELinuxOption {
	if o == nil {
		return nil
	}
	return &cri.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}

// groups returns the supplemental groups, the owner of volumes first.
func groups(psc *v1.PodSecurityContext) []int64 {
	var all []int64
	if psc.FSGroup != nil {
		all = append(all, *psc.FSGroup)
	}
	return append(all, psc.SupplementalGroups...)
}

func groupsPolicy(psc *v1.PodSecurityContext) cri.SupplementalGroupsPolicy {
	if psc.SupplementalGroupsPolicy != nil && *psc.SupplementalGroupsPolicy == v1.SupplementalGroupsPolicyStrict {
		return cri.SupplementalGroupsPolicy_Strict
	}
	return cri.SupplementalGroupsPolicy_Merge
}
