package certs

import (
	"os"
	"path/filepath"

	"boot.internal/atomicfile"
)

// SigningCert returns the certificate file that the controller manager is to sign
// with, of the PKI in dir. It takes one certificate and no more: that is ca.crt, or,
// while that holds several, ca-signing.crt, which the item "certs/ca" keeps.
func SigningCert(dir string) string {
	files := Tree(dir).CA
	if all, err := readCerts(files.Cert); err == nil && len(all) > 1 {
		return SigningPath(dir)
	}
	return files.Cert
}

// SigningPath is the file of the authority's certificate that signs, for as long as
// ca.crt holds several.
func SigningPath(dir string) string { return filepath.Join(dir, "ca-signing.crt") }

// PlanSigning returns the writes that are still to be made for [SigningCert], of
// the PKI in dir. The certificate is the one that belongs to ca.key.
func PlanSigning(dir string) ([]Write, error) {
	a := authority{o: Options{Dir: dir}, row: clusterCA(Options{Dir: dir})}
	ca, err := a.load()
	if err != nil {
		return nil, err
	}
	return a.planSigning(ca)
}

func (a authority) planSigning(ca ca) ([]Write, error) {
	if a.name != clusterCA(a.o).name || len(ca.certs) < 2 || ca.external() {
		return nil, nil
	}
	return a.signWith(certPEM(ca.certs[0].Raw)), nil
}

// signWith returns the write of what the controller manager signs with.
func (a authority) signWith(text []byte) []Write {
	path := SigningPath(a.o.Dir)
	if have, err := os.ReadFile(path); err == nil && string(have) == string(text) {
		return nil
	}
	return []Write{{Path: path, Do: func() error { return atomicfile.Write(path, text, 0o644) }}}
}
