package phases

import (
	"context"
	"slices"
	"time"

	"boot.internal/certs"
	"boot.internal/config"
)

// renewedWith names the certificates that are renewed when a component is
// replaced, and by kubeadm, too: those it shows or signs in with, and with the API
// server those of its administrators.
func renewedWith(component string) []string {
	switch component {
	case config.ComponentEtcd:
		return []string{"etcd-server", "etcd-peer", "etcd-healthcheck-client"}
	case config.ComponentAPIServer:
		return []string{
			"apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client", "admin.conf", "super-admin.conf",
		}
	case config.ComponentControllerManager:
		return []string{"controller-manager.conf"}
	case config.ComponentScheduler:
		return []string{"scheduler.conf"}
	}
	return nil
}

// UpgradeRenewal returns those of the certificates that a node holds which an
// upgrade renews. One whose authority's key is elsewhere is left to whoever has it.
func UpgradeRenewal(held []certs.Held, now time.Time) []certs.Held {
	var names []string
	for _, component := range renewComponents() {
		names = append(names, renewedWith(component)...)
	}
	return slices.DeleteFunc(slices.Clone(held), func(h certs.Held) bool {
		return !slices.Contains(names, h.Name) || h.Renewable(now) != nil
	})
}

// of returns what of the renewal is a component's.
func (o RenewOptions) of(component string) RenewOptions {
	o.Held = slices.DeleteFunc(slices.Clone(o.Held), func(h certs.Held) bool {
		return !slices.Contains(renewedWith(component), h.Name)
	})
	return o
}

// serials tells certificates from those that take their places.
func serials(held []certs.Held) map[string]string {
	all := map[string]string{}
	for _, h := range held {
		all[h.Name] = h.Certificate.SerialNumber.Text(16)
	}
	return all
}

// An upgradeRenewal renews the certificates of a component that is about to be
// replaced, and so starts anew anyway. Where that returns to the old one, so do the
// certificates that it reads at its start.
type upgradeRenewal struct {
	RenewOptions
	replacement Phase
}

// Plan implements Phase. Each certificate is renewed once, however often the run is
// gone on with: the note knows those from before.
func (p upgradeRenewal) Plan(ctx context.Context) ([]Change, error) {
	if busy, err := pending(ctx, []Step{{Phase: p.replacement}}); err != nil || !busy {
		return nil, err
	}
	note, err := ReadUpgradeNote(p.Rollout.State)
	if err != nil {
		return nil, err
	}
	var all []Change
	for _, h := range p.Held {
		if note != nil && note.Certificates[h.Name] != h.Certificate.SerialNumber.Text(16) {
			continue
		}
		changes, err := p.plan(h)
		if err != nil {
			return nil, err
		}
		all = append(all, changes...)
	}
	return all, nil
}
