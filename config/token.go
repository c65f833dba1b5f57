package config

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A TokenOptions says which token nodes are to join with.
type TokenOptions struct {
	Token       Secret        // "id.secret"; made up if empty
	TTL         time.Duration // from its creation; 0 is for ever
	Description string        // for people; may be empty
	Usages      []string      // "signing" and "authentication"; both if empty
	Groups      []string      // of its bearer; that of joining nodes if empty
}

// NewBootstrapToken returns a token that nodes can join with. What is wrong comes
// back as one *[Error].
func NewBootstrapToken(o TokenOptions) (BootstrapToken, error) {
	t := BootstrapToken{
		Token: o.Token, TTL: &metav1.Duration{Duration: o.TTL}, Description: o.Description, Usages: o.Usages, Groups: o.Groups,
	}
	if err := t.setDefaults(); err != nil {
		return t, fmt.Errorf("make a bootstrap token: %w", err)
	}
	v := newValidator("", &documents{at: positions{}})
	v.tokens([]BootstrapToken{t})
	return t, v.err()
}
