package phases

import (
	"io"
	"net/http"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/kubernetes/scheme"
)

// create stores an object that is new.
func (f *fakeAPI) create(w http.ResponseWriter, r *http.Request, t target) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		f.answer(w, nil, err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.tracker.Create(t.gvr, obj, t.namespace); err != nil {
		f.answer(w, nil, err)
		return
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		f.t.Error(err)
	}
	path := r.URL.Path + "/" + m.GetName()
	f.version++
	f.versions[path] = f.version
	f.writes = append(f.writes, r.Method+" "+path)
	f.answer(w, f.versioned(path, obj), nil)
}
