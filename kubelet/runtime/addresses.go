package runtime

import cri "k8s.io/cri-api/pkg/apis/runtime/v1"

// addresses returns the addresses of a sandbox, the primary one first.
func addresses(s *cri.PodSandboxStatus) []string {
	var all []string
	if ip := s.GetNetwork().GetIp(); ip != "" {
		all = append(all, ip)
	}
	for _, more := range s.GetNetwork().GetAdditionalIps() {
		all = append(all, more.Ip)
	}
	return all
}
