// Package credential finds what to show a registry when an image is pulled.
//
// It decides which of the credentials that a pod and its node have fit an image,
// and in which order they are tried: those of the pod's own secrets, then those
// of the node's files, then those that plugins come up with. Whether and when to
// pull is the business of others.
package credential

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A Login is what a registry asks for.
type Login struct {
	Username, Password string
	Email              string // registries stopped asking for it long ago
}

// A Kind says what an Origin is.
type Kind string

// The origins of credentials.
const (
	Node           Kind = "Node" // every pod of the node may use it
	Secret         Kind = "Secret"
	ServiceAccount Kind = "ServiceAccount"
)

// An Origin is where a credential is from. The object it names is that of a
// secret or of the service account that a plugin was shown a token of.
type Origin struct {
	Kind                 Kind
	UID, Namespace, Name string // empty for those of the node
}

// A Credential may be tried at a registry. It must not be logged.
type Credential struct {
	Login
	From Origin
}

// Auth returns the credential as the container runtime takes it.
func (c Credential) Auth() *cri.AuthConfig {
	return &cri.AuthConfig{Username: c.Username, Password: c.Password}
}

// Hash tells logins apart without giving them away. It is the one upstream keeps
// in its records of pulled images (KEP-2535), so that either understands the
// other's.
func (c Credential) Hash() string {
	data, err := json.Marshal(struct {
		Username string `json:"username,omitempty"`
		Password string `json:"password,omitempty"`
		Auth     string `json:"auth,omitempty"`
		Email    string `json:"email,omitempty"`
	}{Username: c.Username, Password: c.Password, Email: c.Email})
	if err != nil { // strings alone cannot fail
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
