package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"boot.internal/journal"
)

// kernel gives settings the values that boot found, and then unloads what it
// loaded: modules take their settings along.
func (r reset) kernel(context.Context) ([]Change, error) {
	entries, err := r.entries()
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, e := range entries {
		if e.Kind != journal.Sysctl {
			continue
		}
		change, err := r.restore(e)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change...)
	}
	for _, e := range slices.Backward(entries) {
		if e.Kind == journal.Module && r.host.exists("sys/module/"+e.Name) {
			changes = append(changes, r.unload(e))
		}
	}
	return changes, nil
}

func (r reset) restore(e journal.Entry) ([]Change, error) {
	have, err := r.host.read(sysctlFile(e.Name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && have == e.Was {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []Change{{fmt.Sprintf("set %s back to %s", e.Name, e.Was), func(context.Context) error {
		return writeSysctl(r.host.path(sysctlFile(e.Name)), e.Was)
	}}}, nil
}

// unload leaves a module loaded that others have come to use.
func (r reset) unload(e journal.Entry) Change {
	return Change{"unload kernel module " + e.Name, func(ctx context.Context) error {
		err := r.host.modprobe(ctx, "-r", e.Name)
		if err == nil || ctx.Err() != nil {
			return err
		}
		warn(ctx, fmt.Sprintf("kernel module %s stays loaded: %v", e.Name, err))
		return r.Journal.Drop(ctx, e)
	}}
}
