package timerslack

import "testing"

func TestWatch(t *testing.T) {
	for _, c := range []struct {
		name string
		tids []int
		want int // 0 if it cannot be told
	}{
		{"the next", []int{40, 41, 42, 45}, 41},
		{"listed in no order", []int{45, 42, 40, 44}, 42},
		{"ids began anew after it", []int{40, 41, 3, 4}, 0},
		{"ids began anew before it", []int{40, 3, 4, 5}, 0},
		{"it is not there", []int{40}, 0},
		{"of another process", []int{41, 42}, 0},
		{"none", nil, 0},
	} {
		if got, err := watch(40, c.tids); got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%s: got %d, %v, want %d", c.name, got, err, c.want)
		}
	}
}
