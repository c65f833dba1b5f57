package phases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"boot.internal/atomicfile"
)

// A Program is the file of this program, and the one that the loop is run from.
type Program struct {
	Own       string // of the process that asks
	Installed string // which the service names
	Version   string // of boot, for people
}

// An upgradeLoop has the loop run from this program and by the cluster's
// configuration. Its pods go on running: the new loop adopts them.
type upgradeLoop struct {
	start   kubeletStart
	program Program
}

// Plan implements Phase.
func (p upgradeLoop) Plan(ctx context.Context) ([]Change, error) {
	same, err := p.program.installed()
	if err != nil {
		return nil, err
	}
	start, err := p.start.Plan(ctx)
	if err != nil || same {
		return start, err
	}
	if len(start) == 0 {
		start = []Change{{"restart the kubelet loop with it", p.start.service.Start}}
	}
	install := Change{fmt.Sprintf("install boot %s as %s", p.program.Version, p.program.Installed), p.program.install}
	return slices.Concat([]Change{install}, start), nil
}

// installed says whether the loop's program is this one.
func (p Program) installed() (bool, error) {
	own, err := os.Open(p.Own)
	if err != nil {
		return false, err
	}
	defer func() { _ = own.Close() }()
	other, err := os.Open(p.Installed)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = other.Close() }()
	return sameContent(own, other)
}

// sameContent compares files, by their sizes first.
func sameContent(a, b *os.File) (bool, error) {
	aInfo, err := a.Stat()
	if err != nil {
		return false, err
	}
	bInfo, err := b.Stat()
	if err != nil || aInfo.Size() != bInfo.Size() || os.SameFile(aInfo, bInfo) {
		return os.SameFile(aInfo, bInfo), err
	}
	const chunk = 1 << 20
	x, y := make([]byte, chunk), make([]byte, chunk)
	for {
		n, err := io.ReadFull(a, x)
		m, other := io.ReadFull(b, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if err != nil || other != nil {
			return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), errors.Join(notEnd(err), notEnd(other))
		}
	}
}

func notEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// install puts a copy of this program in the place of the other, in one step: a loop
// that starts in between starts one or the other. Those that run keep theirs.
func (p Program) install(context.Context) error {
	own, err := os.Open(p.Own)
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	return atomicfile.Stream(p.Installed, 0o755, func(f *os.File) error {
		_, err := io.Copy(f, own)
		return err
	})
}
