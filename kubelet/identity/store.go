package identity

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/util/certificate"
)

// The files of certificates that are renewed, as upstream's:
//
//	kubelet-client-2026-01-02-15-04-05.pem  certificate and key
//	kubelet-client-current.pem              a link to the one that is used
const (
	clientPrefix = "kubelet-client"
	serverPrefix = "kubelet-server"
)

func currentPath(dir, prefix string) string { return filepath.Join(dir, prefix+"-current.pem") }

// A store keeps certificates in files, and tells when there is another one.
type store struct {
	certificate.FileStore
	dir, prefix string
	changed     func(*tls.Certificate)
}

// openStore opens the store of a directory, which need not exist.
func openStore(dir, prefix string, log *slog.Logger, changed func(*tls.Certificate)) (*store, error) {
	s := &store{dir: dir, prefix: prefix, changed: changed}
	if err := s.link(); err != nil {
		return nil, err
	}
	quiet := logr.FromSlogHandler(log.Handler()).V(4)
	files, err := certificate.NewFileStoreWithLogger(quiet, prefix, dir, dir, "", "")
	if err != nil {
		return nil, fmt.Errorf("open certificates in %s: %w", dir, err)
	}
	s.FileStore = files
	return s, nil
}

// Update keeps another certificate.
func (s *store) Update(cert, key []byte) (*tls.Certificate, error) {
	if err := s.link(); err != nil {
		return nil, err
	}
	got, err := s.FileStore.Update(cert, key)
	if err == nil {
		s.changed(got)
	}
	return got, err
}

// link makes a link of what is no link: whoever sets up a node writes a plain
// file, and client-go would not replace that. There is a certificate under
// either name at any moment.
func (s *store) link() error {
	current := currentPath(s.dir, s.prefix)
	fi, err := os.Lstat(current)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at certificate: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return nil
	}
	// Not to the second: the next may come within the same one, and would be
	// written into this file.
	dated := filepath.Join(s.dir, s.prefix+"-"+fi.ModTime().Format("2006-01-02-15-04-05.000000000")+".pem")
	if err := os.Link(current, dated); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keep certificate: %w", err)
	}
	next := filepath.Join(s.dir, fmt.Sprintf(".%s-%d", s.prefix, time.Now().UnixNano()))
	if err := os.Symlink(dated, next); err != nil {
		return fmt.Errorf("link certificate: %w", err)
	}
	if err := os.Rename(next, current); err != nil {
		return errors.Join(fmt.Errorf("link certificate: %w", err), os.Remove(next))
	}
	return nil
}
