package phases

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"boot.internal/certs"
	"boot.internal/config"
)

// An accept waits until the API server takes the certificates of those authorities
// that its files name, and of no others: it reads them again by itself. Whom it
// takes it tells everybody who connects, before they show who they are.
type accept struct{ rotation }

// accepts returns the phase of the API server of this node, if it has one.
func (r rotation) accepts() []Step {
	return []Step{{"accept/" + config.ComponentAPIServer, "Wait until " + config.ComponentAPIServer + " goes by it", accept{r}}}
}

// Plan implements Phase.
func (a accept) Plan(ctx context.Context) ([]Change, error) {
	pod, err := readPod(a.manifest(config.ComponentAPIServer))
	if err != nil || pod == nil {
		return nil, err
	}
	address := probed(pod)
	if address == "" || a.taken(ctx, address) == nil {
		return nil, nil
	}
	return []Change{{"wait until " + config.ComponentAPIServer + " goes by the authorities in its files", func(ctx context.Context) error {
		waiting(ctx, config.ComponentAPIServer)
		return until(ctx, useTimeout, func(ctx context.Context) (bool, error) {
			err := a.taken(ctx, address)
			return err == nil, err
		})
	}}}, nil
}

// taken says why the API server does not go by what is in its files. It tells no
// more than the names of authorities, of which the old and the new have the same:
// what counts is how often.
func (a accept) taken(ctx context.Context, address string) error {
	named, err := acceptable(ctx, address)
	if err != nil {
		return fmt.Errorf("ask %s whom it takes: %w", config.ComponentAPIServer, err)
	}
	for _, t := range a.turns {
		if t.Name == "etcd-ca" {
			continue // it is not for the API server's clients
		}
		trusted, err := certs.ReadBundle(t.Files(a.Places).Cert)
		if err != nil {
			return err
		}
		if want, have := ofName(trusted, string(t.New.RawSubject)), named[string(t.New.RawSubject)]; want != have {
			return fmt.Errorf("%s takes %d authorities of the name %s, and not the %d in %s",
				config.ComponentAPIServer, have, t.New.Subject.CommonName, want, t.Files(a.Places).Cert)
		}
	}
	return nil
}

// ofName counts certificates of a subject.
func ofName(all []*x509.Certificate, subject string) int {
	n := 0
	for _, c := range all {
		if string(c.RawSubject) == subject {
			n++
		}
	}
	return n
}

// acceptable returns how many authorities of each subject a server takes
// certificates of clients from.
func acceptable(ctx context.Context, address string) (map[string]int, error) {
	named := map[string]int{}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // it is looked at, not trusted
		GetClientCertificate: func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			for _, subject := range asked.AcceptableCAs {
				named[string(subject)]++
			}
			return &tls.Certificate{}, nil
		},
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return named, conn.Close()
}
