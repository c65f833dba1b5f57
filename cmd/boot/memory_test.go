package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCleanMappings(t *testing.T) {
	smaps := `00400000-02a54000 r-xp 00000000 fe:00 123                                /usr/bin/boot
Size:              37200 kB
Rss:               20000 kB
Anonymous:             0 kB
02a54000-05800000 r--p 02654000 fe:00 123                                /usr/bin/boot
Anonymous:             0 kB
05800000-05900000 r--p 05400000 fe:00 123                                /usr/bin/boot
Anonymous:             4 kB
05900000-05a00000 rw-p 05500000 fe:00 123                                /usr/bin/boot
Anonymous:             0 kB
7f0000000000-7f0000001000 r-xp 00000000 fe:00 9                          /usr/lib/other
Anonymous:             0 kB
7ffe00000000-7ffe00001000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0x2a54000}, {0x2a54000, 0x5800000}}
	if diff := cmp.Diff(want, clean([]byte(smaps), "/usr/bin/boot"), cmp.AllowUnexported(mapping{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What was given back is still there when it is needed, and is found at all.
func TestGiveBack(t *testing.T) {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	if len(clean(smaps, exe)) == 0 {
		t.Fatalf("no clean mapping of %s in\n%s", exe, smaps)
	}
	giveBack()
	if _, err := os.Readlink("/proc/self/exe"); err != nil {
		t.Error(err)
	}
}

// Memory is given back once after each spell of work, the start among them.
func TestSpells(t *testing.T) {
	s, total := spell{work: true}, uint64(0)
	for i, look := range []struct {
		allocated uint64 // since the look before, in MiB
		ends      bool
	}{
		{40, false},
		{9, false},
		{3, true},
		{5, false},
		{8, false},
		{9, false},
		{200, false},
		{2, true},
		{0, false},
	} {
		total += look.allocated << 20
		if got := s.ends(total); got != look.ends {
			t.Errorf("look %d, after %d MiB more: ended %t", i, look.allocated, got)
		}
	}
	before := allocated()
	if kept := make([]byte, 1<<20); allocated()-before < uint64(len(kept)) {
		t.Error("what is allocated is not seen")
	}
}
