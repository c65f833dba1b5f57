package evict

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
)

func amount(text string) Amount { return Amount{Quantity: resource.MustParse(text)} }

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name string
		c    Config
		want []Threshold
	}{
		{"defaults", Config{Allocatable: true}, []Threshold{
			{Signal: ImageFSAvailable, Amount: Amount{Share: 0.15}},
			{Signal: ImageFSInodesFree, Amount: Amount{Share: 0.05}},
			{Signal: MemoryAvailable, Amount: amount("100Mi")},
			{Signal: NodeFSAvailable, Amount: Amount{Share: 0.1}},
			{Signal: NodeFSInodesFree, Amount: Amount{Share: 0.05}},
			{Signal: AllocatableMemoryAvailable, Amount: amount("100Mi")},
		}},
		{"what is set replaces all defaults, and 0% is none", Config{
			Hard: map[string]string{"nodefs.available": "0%", "imagefs.available": "100%", "pid.available": "10"},
		}, []Threshold{{Signal: PIDAvailable, Amount: amount("10")}}},
		{"merged with the defaults", Config{
			Hard: map[string]string{"memory.available": "5%", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%"}, Merge: true,
		}, []Threshold{
			{Signal: ImageFSInodesFree, Amount: Amount{Share: 0.05}}, {Signal: MemoryAvailable, Amount: Amount{Share: 0.05}},
		}},
		{"soft ones wait, and more is freed", Config{
			Hard: map[string]string{"memory.available": "1Gi"}, Allocatable: true,
			Soft: map[string]string{"memory.available": "2Gi"}, SoftGrace: map[string]string{"memory.available": "1m30s"},
			MinReclaim: map[string]string{"memory.available": "500Mi"},
		}, []Threshold{
			{Signal: MemoryAvailable, Amount: amount("1Gi"), MinReclaim: amount("500Mi")},
			{Signal: AllocatableMemoryAvailable, Amount: amount("1Gi"), MinReclaim: amount("500Mi")},
			{Signal: MemoryAvailable, Amount: amount("2Gi"), MinReclaim: amount("500Mi"), Grace: 90 * time.Second},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse(test.c)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseErrorsNameTheField(t *testing.T) {
	one := func(k, v string) map[string]string { return map[string]string{k: v} }
	for _, test := range []struct {
		c    Config
		want string
	}{
		{Config{Hard: one("memory", "1Gi")}, "evictionHard.memory: unknown eviction signal"},
		{Config{Hard: one("memory.available", "a lot")}, `evictionHard.memory.available: "a lot" is no amount`},
		{Config{Hard: one("memory.available", "0")}, `evictionHard.memory.available: "0" is no amount to keep free`},
		{Config{Hard: one("nodefs.available", "-5%")}, `evictionHard.nodefs.available: "-5%" is no amount to keep free`},
		{Config{Hard: one("nodefs.available", "101%")}, `evictionHard.nodefs.available: "101%" is no amount to keep free`},
		{Config{Hard: one("nodefs.available", "x%")}, `evictionHard.nodefs.available: "x%" is no amount`},
		{Config{Soft: one("pid.available", "5")}, "evictionSoft.pid.available: it has no grace period"},
		{Config{Soft: one("pid.available", "5"), SoftGrace: one("pid.available", "soon")}, `evictionSoftGracePeriod.pid.available: "soon" is no time`},
		{Config{MinReclaim: one("pid.available", "-1")}, `evictionMinimumReclaim.pid.available: "-1" is no amount to free`},
		{Config{MinReclaim: one("pid.available", "-1%")}, `evictionMinimumReclaim.pid.available: "-1%" is no amount to free`},
		{Config{MinReclaim: one("pids", "1")}, "evictionMinimumReclaim.pids: unknown eviction signal"},
	} {
		_, err := Parse(test.c)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %s", err, test.want)
		}
		if hint, ok := err.(interface{ Hint() string }); !ok || hint.Hint() == "" {
			t.Errorf("%v gives no advice", err)
		}
	}
}
