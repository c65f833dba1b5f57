package etcd

// hinted is an error together with what the user can do about it.
type hinted struct {
	error
	hint string
}

// Hint says what to do; cmd prints it beneath the error.
func (h hinted) Hint() string { return h.hint }

func (h hinted) Unwrap() error { return h.error }

func hint(err error, text string) error { return hinted{err, text} }
