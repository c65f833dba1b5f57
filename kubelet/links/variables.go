package links

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// variables returns the variables that name the services, in the order of the
// services' names, each variable once:
//
//	WEB_SERVICE_HOST, WEB_SERVICE_PORT, WEB_SERVICE_PORT_<name of a port>
//	WEB_PORT, WEB_PORT_80_TCP, WEB_PORT_80_TCP_{PROTO,PORT,ADDR}
//
// The second line is what the links of Docker were.
func variables(services map[string]service) []v1.EnvVar {
	var all []v1.EnvVar
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		for _, v := range services[name].variables(upper(name)) {
			if !seen[v.Name] {
				seen[v.Name] = true
				all = append(all, v)
			}
		}
	}
	return all
}

// variables returns those of one service, by its name in capitals.
func (s service) variables(name string) []v1.EnvVar {
	if len(s.ports) == 0 {
		return []v1.EnvVar{{Name: name + "_SERVICE_HOST", Value: s.address}}
	}
	all := []v1.EnvVar{
		{Name: name + "_SERVICE_HOST", Value: s.address},
		{Name: name + "_SERVICE_PORT", Value: s.ports[0].digits()},
	}
	for _, p := range s.ports {
		if p.name != "" {
			all = append(all, v1.EnvVar{Name: name + "_SERVICE_PORT_" + upper(p.name), Value: p.digits()})
		}
	}
	all = append(all, v1.EnvVar{Name: name + "_PORT", Value: s.url(s.ports[0])})
	for _, p := range s.ports {
		prefix := name + "_PORT_" + p.digits() + "_" + strings.ToUpper(p.scheme())
		all = append(all,
			v1.EnvVar{Name: prefix, Value: s.url(p)},
			v1.EnvVar{Name: prefix + "_PROTO", Value: p.scheme()},
			v1.EnvVar{Name: prefix + "_PORT", Value: p.digits()},
			v1.EnvVar{Name: prefix + "_ADDR", Value: s.address},
		)
	}
	return all
}

func (s service) url(p port) string {
	return p.scheme() + "://" + net.JoinHostPort(s.address, p.digits())
}

func (p port) digits() string { return strconv.Itoa(int(p.number)) }

func (p port) scheme() string {
	if p.protocol == "" {
		return "tcp"
	}
	return strings.ToLower(string(p.protocol))
}

func upper(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }
