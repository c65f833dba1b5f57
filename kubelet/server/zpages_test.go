package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestPages(t *testing.T) { // KEP-4827, KEP-4828
	f := newFixture(t, func(o *Options) {
		o.Version, o.Flags = "v1.37.2", map[string]string{"node-ip": "10.0.0.1", "config": "/c.yaml"}
	})
	f.api.rights = map[string]bool{"get statusz": true, "get configz": true}
	ask := func(path, accept string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer good")
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		f.Handler().ServeHTTP(w, r)
		return w
	}
	for _, accept := range []string{"", "*/*", "text/html, text/plain"} {
		if w := ask("/statusz", accept); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "\nBinary version: v1.37.2\n") ||
			!strings.HasPrefix(w.Body.String(), "\nkubelet statusz\n") {
			t.Errorf("accept %q: %d %s", accept, w.Code, w.Body)
		}
	}
	if w := ask("/flagz", ""); !strings.HasSuffix(w.Body.String(), "\nconfig=/c.yaml\nnode-ip=10.0.0.1\n") {
		t.Errorf("flags: %s", w.Body)
	}
	for _, accept := range []string{"text/html", "application/json", "application/json;as=Statusz;g=config.k8s.io;v=v2", ";"} {
		if w := ask("/statusz", accept); w.Code != http.StatusNotAcceptable {
			t.Errorf("accept %q: %d %s", accept, w.Code, w.Body)
		}
	}
	var flags flagz
	if w := ask("/flagz", "application/json;as=Flagz;g=config.k8s.io;v=v1beta1"); json.Unmarshal(w.Body.Bytes(), &flags) != nil ||
		flags.Kind != "Flagz" || flags.APIVersion != "config.k8s.io/v1beta1" || flags.Name != "kubelet" || flags.Flags["config"] != "/c.yaml" {
		t.Errorf("%s", w.Body)
	}
	var status statusz
	if w := ask("/statusz", "application/json;v=v1alpha1;g=config.k8s.io;as=Statusz, text/plain"); json.Unmarshal(w.Body.Bytes(), &status) != nil ||
		status.APIVersion != "config.k8s.io/v1alpha1" || status.BinaryVersion != "v1.37.2" || status.StartTime.IsZero() || status.UptimeSeconds < 0 {
		t.Errorf("%s", w.Body)
	}
	if !slices.Contains(status.Paths, "/configz") {
		t.Errorf("paths %q", status.Paths)
	}
	f.o.Config.EnableDebuggingHandlers = new(false)
	if w := ask("/statusz", ""); strings.Contains(w.Body.String(), "/configz") {
		t.Errorf("what is not there is shown: %s", w.Body)
	}
}
