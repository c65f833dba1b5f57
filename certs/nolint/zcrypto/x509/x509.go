// Package x509 stands in for zcrypto's parser of certificates, which cfssl has
// for what it lints: nothing, here.
package x509

import "errors"

// A Certificate is what never comes to be linted.
type Certificate struct{}

// ParseCertificate returns an error: who asks for linting is not to believe that
// it took place.
func ParseCertificate([]byte) (*Certificate, error) {
	return nil, errors.New("certificates are not linted: boot is built without zlint")
}
