package pod

import "net/netip"

// OnePerFamily returns the first of the addresses of a pod that is of the family
// of the node's first address, then the first of the other one: the order of the
// network plugin says nothing. What is no address is left out.
func OnePerFamily(ips, node []string) []string {
	first6 := false
	if len(node) > 0 {
		a, err := netip.ParseAddr(node[0])
		first6 = err == nil && a.Unmap().Is6()
	}
	var all []string
	for _, want6 := range []bool{first6, !first6} {
		if ip, ok := ofFamily(ips, want6); ok {
			all = append(all, ip)
		}
	}
	return all
}

func ofFamily(ips []string, want6 bool) (ip string, ok bool) {
	for _, ip := range ips {
		if a, err := netip.ParseAddr(ip); err == nil && a.Unmap().Is6() == want6 {
			return a.Unmap().String(), true
		}
	}
	return "", false
}
