package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"boot.internal/hint"
)

// Places are where a node keeps its certificates.
type Places struct {
	PKI        string // /etc/kubernetes/pki
	Kubernetes string // of the kubeconfigs: /etc/kubernetes
	Kubelet    string // of the kubelet's own identity: /var/lib/kubelet/pki
}

// A Held is a certificate that a node holds, as it is on the disk. Nothing but the
// files is asked what it is to be: neither a configuration nor the cluster, which
// may well be out of reach because a certificate has ended.
type Held struct {
	Name string // kubeadm's: "apiserver", "admin.conf", "etcd-ca"
	Path string // the file it is in
	CA   string // Name of the authority that signs it; empty for an authority
	// Certificate is nil if it cannot be read; then Err says why.
	Certificate *x509.Certificate
	Err         error
	// External says that the key of its authority is not on this machine, or, of
	// an authority, that its own is not.
	External bool
	// Rotates says that the loop asks the cluster for another one in time, and so
	// does not depend on a key on this machine.
	Rotates bool

	form      form
	authority Pair
}

// A form is how a certificate lies on the disk.
type form interface {
	// read returns the certificate and its key as far as they can be read.
	read() pair
	// write puts another certificate and its key in place.
	write(cert, key []byte) error
}

// Hold returns what a node holds, authorities first. What is not there is left
// out: a worker has little, and with an external etcd nobody has etcd's.
func Hold(p Places) []Held {
	var held []Held
	for _, h := range p.all() {
		if h = h.looked(); !errors.Is(h.Err, fs.ErrNotExist) {
			held = append(append(held, h), h.others()...)
		}
	}
	return held
}

// others are the authorities that are trusted besides the one that signs: "ca-2",
// "ca-3". Nothing on this node depends on their keys.
func (h Held) others() []Held {
	if h.CA != "" || h.Certificate == nil {
		return nil
	}
	var others []Held
	for i, c := range h.form.read().chain[1:] {
		others = append(others, Held{Name: fmt.Sprintf("%s-%d", h.Name, i+2), Path: h.Path, Certificate: c, External: true})
	}
	return others
}

// Names returns what the certificates are called that can be renewed, in the order
// to do so.
func Names() []string {
	var names []string
	for _, h := range (Places{}).all() {
		if h.CA != "" {
			names = append(names, h.Name)
		}
	}
	return names
}

func (h Held) looked() Held {
	p := h.form.read()
	switch {
	case p.certErr != nil:
		h.Err = p.certErr
	case h.CA != "" && p.keyErr != nil:
		h.Certificate, h.Err = p.chain[0], p.keyErr
	case h.CA != "" && !p.matched():
		h.Certificate, h.Err = p.chain[0], fmt.Errorf("%s does not belong to its key", h.Path)
	default:
		h.Certificate = p.chain[0]
	}
	a := readPair(h.authority)
	h.External = a.keyErr != nil
	if h.Name == kubeletServing && h.Certificate != nil && a.certErr == nil && !signed(p.chain, a.chain, h.Certificate.NotAfter) {
		h.Err = fs.ErrNotExist // the kubelet has made it up by itself, and does so again
	}
	return h
}

// all is the table of what any node may hold.
func (p Places) all() []Held {
	tree, conf, own := Tree(p.PKI), KubeconfigTree(p.Kubernetes), KubeletTree(p.Kubelet)
	authorities := map[string]Pair{"ca": tree.CA, "front-proxy-ca": tree.FrontProxyCA, "etcd-ca": tree.EtcdCA}
	files := func(name, ca string, files Pair) Held {
		return Held{Name: name, Path: files.Cert, CA: ca, form: pairFiles{files}, authority: authorities[ca]}
	}
	user := func(path string) Held {
		return Held{Name: filepath.Base(path), Path: path, CA: "ca", form: confUser{path}, authority: tree.CA}
	}
	kubelet := Held{Name: "kubelet.conf", Path: own.Client, CA: "ca", form: pemFile{own.Client}, authority: tree.CA, Rotates: true}
	return append(p.authorities(authorities),
		files("etcd-server", "etcd-ca", tree.EtcdServer),
		files("etcd-peer", "etcd-ca", tree.EtcdPeer),
		files("etcd-healthcheck-client", "etcd-ca", tree.EtcdHealthcheckClient),
		files("apiserver-etcd-client", "etcd-ca", tree.APIServerEtcdClient),
		files("apiserver", "ca", tree.APIServer),
		files("apiserver-kubelet-client", "ca", tree.APIServerKubeletClient),
		files("front-proxy-client", "front-proxy-ca", tree.FrontProxyClient),
		user(conf.Admin), user(conf.SuperAdmin), user(conf.ControllerManager), user(conf.Scheduler),
		kubelet, p.serving(tree.CA),
	)
}

// serving is what the kubelet shows: what the cluster has signed for it, or what
// init made for the time until then.
func (p Places) serving(ca Pair) Held {
	own := KubeletTree(p.Kubelet)
	h := Held{Name: kubeletServing, Path: own.Serving.Cert, CA: "ca", form: pairFiles{own.Serving}, authority: ca}
	if signed := filepath.Join(p.Kubelet, "kubelet-server-current.pem"); exists(signed) {
		h.Path, h.form, h.Rotates = signed, pemFile{signed}, true
	}
	return h
}

// kubeletServing is a certificate that kubeadm has no name for.
const kubeletServing = "kubelet-serving"

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (p Places) authorities(of map[string]Pair) []Held {
	var all []Held
	for _, name := range []string{"ca", "front-proxy-ca", "etcd-ca"} {
		all = append(all, Held{Name: name, Path: of[name].Cert, form: pairFiles{of[name]}, authority: of[name]})
	}
	return all
}

// Find returns the certificates of the names among what is held; all that can be
// renewed here if there are no names, or the only one is "all".
func Find(held []Held, names []string) ([]Held, error) {
	if len(names) == 0 || slices.Equal(names, []string{"all"}) {
		return slices.DeleteFunc(slices.Clone(held), func(h Held) bool { return h.CA == "" || h.External || h.clusterSigns() }), nil
	}
	var found []Held
	for _, name := range names {
		if !slices.Contains(Names(), name) {
			return nil, hint.With(fmt.Errorf("no certificate is called %q", name), "the names are: "+strings.Join(Names(), ", ")+", or all")
		}
		i := slices.IndexFunc(held, func(h Held) bool { return h.Name == name })
		if i < 0 {
			return nil, hint.With(fmt.Errorf("this node has no certificate %s", name), "'boot certs check' lists those it has")
		}
		found = append(found, held[i])
	}
	return found, nil
}

// clusterSigns says whether only the cluster is asked to sign it: unlike its client
// certificate, the kubelet does without this one if need be.
func (h Held) clusterSigns() bool { return h.Name == kubeletServing && h.Rotates }

// Lives returns how long the certificate was made for: what allows for clocks
// that are behind is not counted.
func (h Held) Lives() time.Duration {
	life := h.Certificate.NotAfter.Sub(h.Certificate.NotBefore)
	if life > backdate {
		life -= backdate
	}
	return life
}

// Left returns how long the certificate is still valid; negative if it is not.
func (h Held) Left(now time.Time) time.Duration { return h.Certificate.NotAfter.Sub(now) }
