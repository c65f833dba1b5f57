package balancer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"boot.internal/atomicfile"
)

const (
	// memory is how long one that the cluster does not list any more is remembered:
	// it may only have been down when all the others were there.
	memory = 7 * 24 * time.Hour
	// maxFormer is how many of those at most.
	maxFormer = 16
)

// A record is the file in which servers are remembered.
type record struct {
	Servers []remembered `json:"servers"`
}

type remembered struct {
	Address string `json:"address"` // "192.0.2.10:6443"
	// Left is when the cluster did not list it any more, zero while it does.
	Left time.Time `json:"left,omitzero"`
}

// Learn takes the addresses, "host:port", that the cluster lists. None at all is
// nothing to go by: somebody has told it.
func (b *Balancer) Learn(addresses []string) {
	if len(addresses) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	news := false
	for _, s := range b.servers {
		if s.listed && !slices.Contains(addresses, s.address) {
			s.listed, s.left, news = false, now, true
		}
	}
	for _, address := range addresses {
		if s := b.known(address, now); !s.listed {
			s.listed, s.left, news = true, time.Time{}, true
		}
	}
	if !news {
		return
	}
	b.dropOld(now)
	b.o.Log.Info("API servers are known", slog.Any("servers", slices.Sorted(slices.Values(addresses))))
	if err := b.remember(); err != nil {
		b.o.Log.Error("remember API servers", slog.Any("err", err))
	}
	b.choose(now)
	b.wake() // to have the new ones watched
}

// known returns the server at an address, which is a new one if need be.
func (b *Balancer) known(address string, now time.Time) *server {
	if i := slices.IndexFunc(b.servers, func(s *server) bool { return s.address == address }); i >= 0 {
		return b.servers[i]
	}
	host, _, _ := net.SplitHostPort(address) // what is no address is on no host
	s := newServer(address, b.o.local(host), now)
	if b.current != nil {
		b.current.look() // it is not the only one any more
	}
	b.servers = append(b.servers, s)
	slices.SortFunc(b.servers, func(a, b *server) int { return cmp.Compare(a.address, b.address) })
	return s
}

// dropOld forgets servers that the cluster has not listed for long.
func (b *Balancer) dropOld(now time.Time) {
	former := slices.DeleteFunc(slices.Clone(b.servers), func(s *server) bool { return s.listed || s.seed })
	slices.SortFunc(former, func(a, b *server) int { return b.left.Compare(a.left) })
	for i, s := range former {
		s.dropped = i >= maxFormer || now.Sub(s.left) > memory
		s.look() // so that its watch ends
	}
	b.servers = slices.DeleteFunc(b.servers, func(s *server) bool { return s.dropped })
}

// remember writes the file.
func (b *Balancer) remember() error {
	if b.o.File == "" {
		return nil
	}
	var r record
	for _, s := range b.servers {
		if s.listed || !s.left.IsZero() {
			r.Servers = append(r.Servers, remembered{s.address, s.left.UTC().Truncate(time.Second)})
		}
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", b.o.File, err)
	}
	if err := os.MkdirAll(filepath.Dir(b.o.File), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(b.o.File, append(data, '\n'), 0o644)
}

// recall begins with the seeds and what the file says. One that cannot be read is
// written anew once something is learned.
func (b *Balancer) recall(now time.Time) {
	for _, address := range b.o.Seeds {
		b.known(address, now).seed = true
	}
	if b.o.File == "" {
		return
	}
	data, err := os.ReadFile(b.o.File)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var r record
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		b.o.Log.Error("recall API servers", slog.String("path", b.o.File), slog.Any("err", err))
		return
	}
	for _, m := range r.Servers {
		if _, _, err := net.SplitHostPort(m.Address); err == nil {
			s := b.known(m.Address, now)
			s.listed, s.left = m.Left.IsZero(), m.Left
		}
	}
	b.dropOld(now)
}
