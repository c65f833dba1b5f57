package certs

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSealed(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "key"), filepath.Join(dir, "other")
	public, err := RecipientKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := RecipientKey(path); err != nil || !bytes.Equal(again, public) {
		t.Errorf("asked again it is another: %v", err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if _, err := RecipientKey(other); err != nil {
		t.Fatal(err)
	}
	sealed, err := Seal(public, []byte("secret"), []byte("for node-1"))
	if err != nil || bytes.Contains(sealed, []byte("secret")) {
		t.Fatal(err)
	}
	if plain, err := Open(path, sealed, []byte("for node-1")); err != nil || string(plain) != "secret" {
		t.Errorf("%q, %v", plain, err)
	}
	cut := sealed[:len(sealed)-1]
	for name, open := range map[string]func() ([]byte, error){
		"by another":    func() ([]byte, error) { return Open(other, sealed, []byte("for node-1")) },
		"about another": func() ([]byte, error) { return Open(path, sealed, []byte("for node-2")) },
		"cut short":     func() ([]byte, error) { return Open(path, cut, []byte("for node-1")) },
		"without a key": func() ([]byte, error) { return Open(filepath.Join(dir, "none"), sealed, nil) },
	} {
		if plain, err := open(); err == nil || plain != nil {
			t.Errorf("opened %s: %q, %v", name, plain, err)
		}
	}
	if _, err := Seal([]byte("short"), nil, nil); err == nil {
		t.Error("sealed for nobody")
	}
}

// A key that is broken is not replaced: what was sealed for it would be lost.
func TestBrokenRecipient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	for _, content := range []string{"garbage", "-----BEGIN PRIVATE KEY-----\nZ2FyYmFnZQ==\n-----END PRIVATE KEY-----\n"} {
		write(t, path, content)
		if _, err := RecipientKey(path); err == nil || strings.Contains(err.Error(), "Z2FyYmFnZQ") {
			t.Errorf("%v", err)
		}
	}
}
