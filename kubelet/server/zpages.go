package server

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	goruntime "runtime"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// componentName is what this component is called in its pages (KEP-4827, KEP-4828):
// whoever reads them looks for a kubelet.
const componentName = "kubelet"

// pagesAPI is the group of the pages, and pagesVersions are its versions, of which
// all say the same.
const pagesAPI = "config.k8s.io"

//nolint:gochecknoglobals // constant
var pagesVersions = []string{"v1alpha1", "v1beta1"}

// statusz says what runs and since when.
type statusz struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	StartTime         metav1.Time `json:"startTime"`
	UptimeSeconds     int64       `json:"uptimeSeconds"`
	GoVersion         string      `json:"goVersion"`
	BinaryVersion     string      `json:"binaryVersion"`
	Paths             []string    `json:"paths"`
}

// flagz says with which flags it was started.
type flagz struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Flags             map[string]string `json:"flags,omitempty"`
}

// handlePages adds the pages for people who look for what is wrong.
func (s *Server) handlePages(mux *http.ServeMux) {
	mux.HandleFunc("GET /statusz", func(w http.ResponseWriter, r *http.Request) {
		answerPage(w, r, "Statusz", s.statuszText, func(t metav1.TypeMeta, m metav1.ObjectMeta) any {
			return statusz{
				TypeMeta: t, ObjectMeta: m, StartTime: metav1.NewTime(s.started), UptimeSeconds: int64(time.Since(s.started).Seconds()),
				GoVersion: goruntime.Version(), BinaryVersion: s.o.Version, Paths: s.debugPaths(),
			}
		})
	})
	mux.HandleFunc("GET /flagz", func(w http.ResponseWriter, r *http.Request) {
		answerPage(w, r, "Flagz", s.flagzText, func(t metav1.TypeMeta, m metav1.ObjectMeta) any {
			return flagz{TypeMeta: t, ObjectMeta: m, Flags: s.o.Flags}
		})
	})
}

// answerPage answers in words, or with an object where somebody asks for a version
// of its kind.
func answerPage(w http.ResponseWriter, r *http.Request, kind string, text func() string, object func(metav1.TypeMeta, metav1.ObjectMeta) any) {
	version, ok := accepted(r.Header.Get("Accept"), kind)
	switch {
	case !ok:
		http.Error(w, "only text/plain is served, and application/json of the kind "+kind+" of "+pagesAPI, http.StatusNotAcceptable)
	case version == "":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintf(w, "\n%s %s\nWarning: %s\n\n%s", componentName, strings.ToLower(kind), pageWarning, text()) // who asked may have gone
	default:
		w.Header().Set("Content-Type", "application/json")
		meta := metav1.TypeMeta{APIVersion: pagesAPI + "/" + version, Kind: kind}
		_ = json.NewEncoder(w).Encode(object(meta, metav1.ObjectMeta{Name: componentName})) // as above
	}
}

const pageWarning = "This page is for people; its form may change at any time. Ask for " + pagesAPI + " to read it by program."

// accepted returns the version of a kind that somebody accepts, "" for words; ok is
// false if it is neither.
func accepted(header, kind string) (version string, ok bool) {
	if strings.TrimSpace(header) == "" {
		return "", true
	}
	for part := range strings.SplitSeq(header, ",") {
		media, p, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		switch media {
		case "text/plain", "text/*", "*/*":
			return "", true
		case "application/json":
			if p["as"] == kind && p["g"] == pagesAPI && slices.Contains(pagesVersions, p["v"]) {
				return p["v"], true
			}
		}
	}
	return "", false
}

func (s *Server) statuszText() string {
	up := int64(time.Since(s.started).Seconds())
	return fmt.Sprintf("Started: %s\nUp: %d hr %02d min %02d sec\nGo version: %s\nBinary version: %s\nPaths: %s\n",
		s.started.Format(time.UnixDate), up/3600, up/60%60, up%60, goruntime.Version(), s.o.Version, strings.Join(s.debugPaths(), " "))
}

func (s *Server) flagzText() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.o.Flags)) {
		fmt.Fprintf(&b, "%s=%s\n", name, s.o.Flags[name])
	}
	return b.String()
}

// debugPaths returns where there is more to see.
func (s *Server) debugPaths() []string {
	paths := []string{"/flagz", "/healthz", "/metrics", "/pods", "/stats", "/statusz"}
	if s.debugs() {
		paths = append(paths, "/configz", "/containerLogs", "/debug", "/logs", "/runningpods")
		slices.Sort(paths)
	}
	return paths
}
