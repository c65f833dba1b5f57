// Package approve approves the requests of kubelets for serving certificates, on
// the nodes of the control plane.
//
// It decides which requests check out, purely, and says so to the API. What does
// not check out is left for people to judge: nothing is ever denied. Any number
// of nodes may do this at the same time.
package approve

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
)

const (
	userPrefix = "system:node:"
	group      = "system:nodes"
)

// open reports whether a request waits for somebody's approval.
func open(csr *certificatesv1.CertificateSigningRequest) bool {
	return csr.Spec.SignerName == certificatesv1.KubeletServingSignerName && len(csr.Status.Certificate) == 0 &&
		!slices.ContainsFunc(csr.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
			return c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed
		})
}

// Check returns why a request must not be approved without anyone looking: it is
// not a node's own, or asks for more than to serve as the names and IPs that the
// node has and no other node has.
func Check(csr *certificatesv1.CertificateSigningRequest, nodes []v1.Node) error {
	name, ok := strings.CutPrefix(csr.Spec.Username, userPrefix)
	if !ok || name == "" || !slices.Contains(csr.Spec.Groups, group) {
		return fmt.Errorf("%s is no node", csr.Spec.Username)
	}
	asked, err := parse(csr.Spec.Request)
	if err != nil {
		return err
	}
	if asked.Subject.CommonName != csr.Spec.Username || !slices.Equal(asked.Subject.Organization, []string{group}) {
		return fmt.Errorf("the subject %s is not that of %s", asked.Subject, csr.Spec.Username)
	}
	if err := checkUsages(csr.Spec.Usages); err != nil {
		return err
	}
	return checkNames(asked, name, nodes)
}

func parse(text []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("it holds no certificate request")
	}
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read certificate request: %w", err)
	}
	return asked, nil
}

func checkUsages(usages []certificatesv1.KeyUsage) error {
	for _, u := range usages {
		switch u {
		case certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageServerAuth:
		default:
			return fmt.Errorf("usage %q is not for serving", u)
		}
	}
	if !slices.Contains(usages, certificatesv1.UsageServerAuth) {
		return fmt.Errorf("usages %q are not for serving", usages)
	}
	return nil
}

// checkNames compares what is asked for with the addresses of the node.
func checkNames(asked *x509.CertificateRequest, name string, nodes []v1.Node) error {
	if len(asked.EmailAddresses)+len(asked.URIs) > 0 {
		return errors.New("it asks for more than names and IPs")
	}
	var wanted []string
	for _, ip := range asked.IPAddresses {
		a, ok := netip.AddrFromSlice(ip)
		if !ok || a.Unmap().IsLoopback() || a.IsUnspecified() {
			return fmt.Errorf("IP %s is not one of a node", ip)
		}
		wanted = append(wanted, a.Unmap().String())
	}
	wanted = append(wanted, asked.DNSNames...)
	if len(wanted) == 0 {
		return errors.New("it asks for no name and no IP")
	}
	for _, w := range wanted {
		owners := ownersOf(w, nodes)
		if !slices.Contains(owners, name) {
			return fmt.Errorf("%s is not an address of node %s", w, name)
		}
		if len(owners) > 1 {
			return fmt.Errorf("%s is an address of nodes %s", w, strings.Join(owners, ", "))
		}
	}
	return nil
}

// ownersOf returns the names of all nodes that have an address.
func ownersOf(address string, nodes []v1.Node) []string {
	var owners []string
	for _, n := range nodes {
		if slices.ContainsFunc(n.Status.Addresses, func(a v1.NodeAddress) bool { return plain(a.Address) == address }) {
			owners = append(owners, n.Name)
		}
	}
	return owners
}

// plain returns an IP as it is written the one right way, and names as they are.
func plain(address string) string {
	if ip, err := netip.ParseAddr(address); err == nil {
		return ip.Unmap().String()
	}
	return address
}
