package bundled

import (
	"errors"
	"io"
	"testing"
	"testing/fstest"
)

func TestBuildWithoutEngineSaysSo(t *testing.T) {
	none := fstest.MapFS{"engine.md": {Data: []byte("x")}}
	if _, err := open(none); !errors.Is(err, ErrNone) {
		t.Fatalf("open: %v, want ErrNone", err)
	}
	if got := readSum(none); got != "" {
		t.Fatalf("sum %q", got)
	}
}

func TestBuildWithEngine(t *testing.T) {
	fs := fstest.MapFS{
		"engine.tar.zst":        {Data: []byte("archive")},
		"engine.tar.zst.sha256": {Data: []byte("abc123  engine.tar.zst\n")},
	}
	r, err := open(fs)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil || string(data) != "archive" {
		t.Fatalf("read %q, %v", data, err)
	}
	if got := readSum(fs); got != "abc123" {
		t.Fatalf("sum %q", got)
	}
}

func TestWhatIsEmbedded(t *testing.T) {
	r, err := Open()
	if errors.Is(err, ErrNone) {
		return // a checkout before `make build`
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}
