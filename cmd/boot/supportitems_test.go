package main

import (
	"context"
	"testing"

	"boot.internal/status"
)

// What a support bundle tells of the node is of one moment.
func TestOnceLooked(t *testing.T) {
	looks := 0
	look := onceLooked(func(context.Context) status.Report {
		looks++
		return status.Report{Verdict: status.Degraded}
	})
	for range 3 {
		if r := look(t.Context()); r.Verdict != status.Degraded || looks != 1 {
			t.Errorf("%d looks: %+v", looks, r)
		}
	}
}
