package cpus

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// A Policy is how CPUs are chosen, by the options of the static policy
// (cpuManagerPolicyOptions). The zero Policy packs them.
type Policy struct {
	WholeCores  bool // full-pcpus-only: refuse what is not whole cores
	AcrossNUMA  bool // distribute-cpus-across-numa: as many from each node, where one is not enough
	BySocket    bool // align-by-socket: near is what is on one socket, not on one NUMA node
	AcrossCores bool // distribute-cpus-across-cores: one thread of each core before two of one
	Strict      bool // strict-cpu-reservation: reserved CPUs are not shared either
	ByCache     bool // prefer-align-cpus-by-uncorecache
}

// The options, in the words of users.
const (
	wholeCores  = "full-pcpus-only"
	acrossNUMA  = "distribute-cpus-across-numa"
	bySocket    = "align-by-socket"
	acrossCores = "distribute-cpus-across-cores"
	strict      = "strict-cpu-reservation"
	byCache     = "prefer-align-cpus-by-uncorecache"
)

// Gates of options that are not stable.
const (
	AlphaGate = "CPUManagerPolicyAlphaOptions" // off unless set
	BetaGate  = "CPUManagerPolicyBetaOptions"  // on unless set
)

// ParsePolicy reads options, under these feature gates. Errors are those of the user.
func ParsePolicy(options map[string]string, gates map[string]bool) (Policy, error) {
	var p Policy
	fields := map[string]*bool{
		wholeCores: &p.WholeCores, acrossNUMA: &p.AcrossNUMA, bySocket: &p.BySocket,
		acrossCores: &p.AcrossCores, strict: &p.Strict, byCache: &p.ByCache,
	}
	beta, said := gates[BetaGate]
	for _, name := range slices.Sorted(maps.Keys(options)) {
		field := fields[name]
		switch {
		case field == nil:
			return p, fmt.Errorf("unknown CPU Manager Policy option: %q", name)
		case (name == bySocket || name == acrossCores) && !gates[AlphaGate]:
			return p, fmt.Errorf("CPU Manager Policy Alpha-level Options not enabled, but option %q provided", name)
		case name == acrossNUMA && said && !beta:
			return p, fmt.Errorf("CPU Manager Policy Beta-level Options not enabled, but option %q provided", name)
		}
		var err error
		if *field, err = strconv.ParseBool(options[name]); err != nil {
			return p, fmt.Errorf("bad value for option %q: %w", name, err)
		}
	}
	return p, p.conflict()
}

// conflict returns which two options exclude each other.
func (p Policy) conflict() error {
	for _, c := range []struct {
		both bool
		a, b string
	}{
		{p.WholeCores && p.AcrossCores, wholeCores, acrossCores},
		{p.AcrossNUMA && p.AcrossCores, acrossNUMA, acrossCores},
		{p.ByCache && p.AcrossCores, byCache, acrossCores},
		{p.ByCache && p.AcrossNUMA, byCache, acrossNUMA},
	} {
		if c.both {
			return fmt.Errorf("static policy options %s and %s can not be used at the same time", c.a, c.b)
		}
	}
	return nil
}

// fits returns why a policy cannot be used on a machine.
func (p Policy) fits(s *shape) error {
	if p.BySocket && s.units[socket] > s.units[node] {
		return errors.New("align by socket is not compatible with hardware where number of sockets are more than number of NUMA")
	}
	return nil
}
