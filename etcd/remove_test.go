package etcd

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A cluster of the table is written as one letter for each member, the first of
// which is to go: V a voter that is well, v one that is not, L and l learners.
func TestRemovable(t *testing.T) {
	for _, c := range []struct {
		cluster string
		want    error
	}{
		{"V", ErrLast},
		{"v", ErrLast},
		{"VL", ErrLast}, // a learner has no vote to take over with
		{"LV", nil},
		{"lV", nil},
		{"lVv", nil},
		{"VV", nil},
		{"Vv", ErrQuorum},
		{"vV", nil}, // etcd itself refuses: it takes both to agree
		{"VVV", nil},
		{"vVV", nil},
		{"VVv", ErrQuorum},
		{"VVL", nil},
		{"VVvL", ErrQuorum},
		{"VVVv", nil},
		{"VVvv", ErrQuorum},
		{"vVVv", nil},
		{"vVVvv", ErrQuorum},
		{"VVVvv", ErrQuorum},
		{"vVVVv", nil},
	} {
		t.Run(c.cluster, func(t *testing.T) {
			var all []Status
			for i, letter := range c.cluster {
				s := Status{Member: Member{ID: uint64(i + 1), Name: fmt.Sprint("node-", i+1), Learner: strings.ContainsRune("Ll", letter)}}
				if strings.ContainsRune("vl", letter) {
					s.Err = errors.New("it is dead")
				}
				all = append(all, s)
			}
			if err := Removable(all, 1); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestWhoKeepsAMemberFromGoing(t *testing.T) {
	all := []Status{{Member: Member{ID: 1}}, {Member: Member{ID: 2, Name: "cp2"}}, {Member: Member{ID: 3, Name: "cp3"}, Err: errors.New("connection refused")}}
	err := Removable(all, 1)
	var h interface{ Hint() string }
	if err == nil || !strings.Contains(err.Error(), "1 of 2") || !strings.Contains(err.Error(), "cp3: connection refused") || !errors.As(err, &h) {
		t.Errorf("%v", err)
	}
}

func TestFind(t *testing.T) {
	all := []Member{{ID: 0xbeef, Name: "cp1", PeerURLs: []string{"https://a:2380"}}, {ID: 0xcafe, PeerURLs: []string{"https://b:2380"}}}
	for name, want := range map[string]uint64{"cp1": 0xbeef, "BEEF": 0xbeef, "cafe": 0xcafe} {
		if m, ok := Find(all, name); !ok || m.ID != want {
			t.Errorf("%s: %v %v", name, m, ok)
		}
	}
	for _, name := range []string{"", "cp2", "b"} {
		if m, ok := Find(all, name); ok {
			t.Errorf("%q found %v", name, m)
		}
	}
	if m, ok := At(all, "https://b:2380"); !ok || m.String() != "cafe" {
		t.Errorf("%v %v", m, ok)
	}
}
