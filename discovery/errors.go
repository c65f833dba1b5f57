package discovery

import "errors"

// Why a node does not join. Each has a hint when it comes from [Find].
var (
	ErrUnreachable = errors.New("the API server can not be reached")
	ErrToken       = errors.New("the token is not accepted")
	ErrAuthority   = errors.New("the cluster has another authority than the one that is pinned")
	ErrUntrusted   = errors.New("the API server can not be trusted")
	ErrClock       = errors.New("the clocks of this host and of the API server differ")
	ErrNameTaken   = errors.New("the name of the node is taken")
	ErrVersion     = errors.New("the versions do not go together")
	ErrMember      = errors.New("this host is a node of another cluster")
	ErrNotJoinable = errors.New("the cluster does not tell what a node needs to join")
)

// A failure is one of the above with what was seen and what can be done.
type failure struct {
	kind error
	seen string
	hint string
}

// Error is what was seen: it is more than the kind.
func (f failure) Error() string { return f.seen }

// Unwrap lets errors.Is tell the kind.
func (f failure) Unwrap() error { return f.kind }

// Hint says what to do; cmd prints it beneath the error.
func (f failure) Hint() string { return f.hint }

func fail(kind error, seen, hint string) error { return failure{kind, seen, hint} }

// passing marks an error that may go away by itself.
type passing struct{ error }

func (p passing) Unwrap() error { return p.error }
