package admit

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// checkAppArmor turns away pods with a profile that nobody would enforce.
func checkAppArmor(p *v1.Pod, n Node) *Rejection {
	why := ""
	for _, profile := range profiles(p) {
		switch {
		case profile.Type == v1.AppArmorProfileTypeUnconfined:
		case !n.AppArmor:
			why = "AppArmor is not enabled on the host"
		case profile.Type == v1.AppArmorProfileTypeLocalhost && strings.TrimSpace(localhost(profile)) == "":
			why = fmt.Sprintf("invalid empty AppArmor profile name: %q", localhost(profile))
		}
	}
	if why == "" {
		return nil
	}
	return &Rejection{"AppArmor", "Cannot enforce AppArmor: " + why}
}

func profiles(p *v1.Pod) []v1.AppArmorProfile {
	var all []v1.AppArmorProfile
	if s := p.Spec.SecurityContext; s != nil && s.AppArmorProfile != nil {
		all = append(all, *s.AppArmorProfile)
	}
	for _, d := range pod.Containers(p) {
		if s := d.SecurityContext; s != nil && s.AppArmorProfile != nil {
			all = append(all, *s.AppArmorProfile)
		}
	}
	return all
}

func localhost(p v1.AppArmorProfile) string {
	if p.LocalhostProfile == nil {
		return ""
	}
	return *p.LocalhostProfile
}
