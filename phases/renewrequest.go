package phases

import (
	"context"

	"boot.internal/certs"
	"boot.internal/config"
)

// Requests returns the phases that make what the holder of an external authority's
// key is asked to sign: keys, kubeconfigs that still lack their certificates, and
// the requests beside them.
func Requests(cfg *config.Init, dirs Dirs) ([]Step, error) {
	o, err := pkiOptions(cfg, dirs)
	if err != nil {
		return nil, err
	}
	var steps []Step
	for _, q := range certs.New(o).Requests() {
		steps = append(steps, Step{q.Name, "Request a certificate", PlanFunc(func(context.Context) ([]Change, error) {
			writes, err := q.Plan()
			var changes []Change
			for _, w := range writes {
				changes = append(changes, Change{"write " + w.Path, func(context.Context) error { return w.Do() }})
			}
			return changes, err
		})})
	}
	return steps, nil
}
