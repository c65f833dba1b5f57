package cgroup

import (
	"context"
	"errors"
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

// mortal is a connection to a systemd that may be lost.
type mortal struct {
	*fakeUnits
	lost bool
}

func (m *mortal) SetUnitPropertiesContext(ctx context.Context, unit string, runtime bool, p ...dbus.Property) error {
	if m.lost {
		return godbus.ErrClosed
	}
	return m.fakeUnits.SetUnitPropertiesContext(ctx, unit, runtime, p...)
}

func TestConnectionIsMadeAnew(t *testing.T) {
	f := &fakeUnits{units: map[string]bool{}, result: "done"}
	var made []*mortal
	l := &link{connect: func(context.Context) (Units, error) {
		made = append(made, &mortal{fakeUnits: f})
		return made[len(made)-1], nil
	}}
	set := func() error { return l.SetUnitPropertiesContext(t.Context(), "a.slice", true) }
	for range 2 {
		if err := set(); err != nil {
			t.Fatal(err)
		}
	}
	made[0].lost = true // systemd has executed itself again
	if err := set(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"set a.slice", "set a.slice", "set a.slice"}, f.calls); diff != "" || len(made) != 2 {
		t.Errorf("%d connections %s", len(made), diff)
	}
}

func TestConnectionThatIsLostAtOnceIsAnError(t *testing.T) {
	made := 0
	l := &link{connect: func(context.Context) (Units, error) {
		made++
		return &mortal{fakeUnits: &fakeUnits{}, lost: true}, nil
	}}
	err := l.SetUnitPropertiesContext(t.Context(), "a.slice", true)
	if !errors.Is(err, godbus.ErrClosed) || made != 2 {
		t.Errorf("%v after %d connections", err, made)
	}
}
