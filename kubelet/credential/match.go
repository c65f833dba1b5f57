package credential

import (
	"net"
	"net/url"
	"path"
	"strings"
)

// hubHost is what docker calls its own registry in files of logins.
const hubHost = "index.docker.io"

// matches reports whether a pattern such as "*.example.org:5000/team" is meant
// for an image: the same port, a host of as many parts each of which fits, and a
// path that begins the same.
func matches(pattern, image string) bool {
	want, err := url.Parse("https://" + pattern)
	if err != nil {
		return false
	}
	have, err := url.Parse("https://" + image)
	if err != nil || !strings.HasPrefix(have.Path, want.Path) {
		return false
	}
	wantParts, wantPort := hostParts(want)
	haveParts, havePort := hostParts(have)
	if wantPort != havePort || len(wantParts) != len(haveParts) {
		return false
	}
	for i := range wantParts {
		if ok, err := path.Match(wantParts[i], haveParts[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

func hostParts(u *url.URL) (parts []string, port string) {
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		host, port = u.Host, ""
	}
	return strings.Split(host, "."), port
}

// isHub reports whether an image is one of Docker's own registry.
func isHub(image string) bool {
	first, _, more := strings.Cut(image, "/")
	switch {
	case first == "":
		return false
	case !more, first == "docker.io", first == hubHost:
		return true
	}
	return !strings.ContainsAny(first, ".:") // else it is a host
}

// keyOf returns the host and path a login is for, as it is written in files:
// with or without scheme, and with the version of an API that does not matter.
func keyOf(registry string) (string, error) {
	if !strings.HasPrefix(registry, "https://") && !strings.HasPrefix(registry, "http://") {
		registry = "https://" + registry
	}
	u, err := url.Parse(registry)
	if err != nil {
		return "", errMalformed
	}
	p := u.Path
	if strings.HasPrefix(p, "/v2/") || strings.HasPrefix(p, "/v1/") {
		p = p[3:]
	}
	if p == "/" {
		p = ""
	}
	return u.Host + p, nil
}
