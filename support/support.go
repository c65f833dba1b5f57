// Package support packs what others need to know of a node, to help with it, into
// one archive, without the secrets that are in it.
//
// It decides how what is gathered is bounded in size and time, and what counts as
// a secret: a secret that is seen in one place is removed from all. What is
// gathered is left to the caller.
package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// What each item may take.
const (
	itemTimeout = 10 * time.Second
	itemSize    = 4 << 20 // bytes; what is beyond is left out
	atOnce      = 8
)

// An Item is one file of the archive.
type Item struct {
	// Name is its path in the archive: "logs/kubelet.log".
	Name string
	// Collect writes its content, until ctx ends. What has been written before an
	// error counts.
	Collect func(ctx context.Context, to io.Writer) error
}

// Options say what is packed.
type Options struct {
	Items []Item
	// Dir is the directory that all files of the archive are in.
	Dir string
	// Learn are documents that are not packed, but may hold secrets that are in
	// others: kubeconfigs, say.
	Learn [][]byte
	// Now is the time of the files.
	Now time.Time
}

// A Collected is what became of an item; all of them are in collected.json.
type Collected struct {
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	Millis int64  `json:"milliseconds"`
	Error  string `json:"error,omitempty"`
	Cut    bool   `json:"cut,omitempty"` // it was larger than may be

	data []byte
}

// Pack gathers all items and writes the archive, a tar compressed with gzip. That
// an item cannot be gathered is noted in the archive, and no error.
func Pack(ctx context.Context, to io.Writer, o Options) ([]Collected, error) {
	all := gather(ctx, o.Items)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	secrets := newSecrets()
	for _, document := range o.Learn {
		secrets.learn(document)
	}
	for _, c := range all {
		secrets.learn(c.data)
	}
	for i := range all {
		all[i].data = secrets.remove(all[i].data)
		all[i].Error = string(secrets.remove([]byte(all[i].Error)))
		all[i].Bytes = len(all[i].data)
	}
	return all, write(to, o, all)
}

// gather collects all items, several at a time, in their order.
func gather(ctx context.Context, items []Item) []Collected {
	all := make([]Collected, len(items))
	turns := make(chan struct{}, atOnce)
	var group sync.WaitGroup
	for i, item := range items {
		group.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			all[i] = collect(ctx, item)
		})
	}
	group.Wait()
	return all
}

// collect gathers an item. One that does not end when it has to is left behind.
func collect(ctx context.Context, item Item) Collected {
	ctx, cancel := context.WithTimeout(ctx, itemTimeout)
	defer cancel()
	begin, to := time.Now(), &bounded{limit: itemSize}
	done := make(chan error, 1)
	go func() { done <- item.Collect(ctx, to) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		case <-time.After(itemTimeout / 10): // to say what it has
			err = fmt.Errorf("no end within %s", itemTimeout)
		}
	}
	c := Collected{Name: item.Name, Millis: time.Since(begin).Milliseconds()}
	c.data, c.Cut = to.take()
	if err != nil && !c.Cut { // who is cut off complains
		c.Error = err.Error()
	}
	return c
}

var errFull = errors.New("there is no more room for it")

// A bounded keeps what is written to it, up to a limit, until that is taken.
type bounded struct {
	limit int

	mu    sync.Mutex
	data  bytes.Buffer
	cut   bool
	taken bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	room := b.limit - b.data.Len()
	if b.taken || room < len(p) {
		b.cut = true
		if !b.taken {
			b.data.Write(p[:room])
		}
		return 0, errFull
	}
	return b.data.Write(p)
}

// take returns what there is; whatever is written later is lost.
func (b *bounded) take() (data []byte, cut bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken = true
	return b.data.Bytes(), b.cut
}

// write writes the archive: the list of what is in it comes first.
func write(to io.Writer, o Options, all []Collected) error {
	z := gzip.NewWriter(to)
	t := tar.NewWriter(z)
	list, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("list what was collected: %w", err)
	}
	files := append([]Collected{{Name: "collected.json", data: append(list, '\n')}}, all...)
	for _, f := range files {
		if f.Error != "" && len(f.data) == 0 {
			continue // the list tells
		}
		h := &tar.Header{Name: o.Dir + "/" + f.Name, Mode: 0o600, Size: int64(len(f.data)), ModTime: o.Now}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("write archive: %w", err)
		}
		if _, err := t.Write(f.data); err != nil {
			return fmt.Errorf("write archive: %w", err)
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}
