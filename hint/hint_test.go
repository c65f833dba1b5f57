package hint

import (
	"errors"
	"fmt"
	"testing"
)

func TestOf(t *testing.T) {
	cause := errors.New("no such file")
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{cause, ""},
		{With(cause, "make one"), "make one"},
		{fmt.Errorf("read: %w", With(cause, "make one")), "make one"},
		{With(fmt.Errorf("read: %w", With(cause, "make one")), "start over"), "start over"},
		{errors.Join(errors.New("other"), With(cause, "make one")), "make one"},
	} {
		if got := Of(c.err); got != c.want {
			t.Errorf("Of(%v) = %q, want %q", c.err, got, c.want)
		}
	}
	if err := With(cause, "make one"); !errors.Is(err, cause) || err.Error() != cause.Error() {
		t.Errorf("the error itself is %v", err)
	}
}
