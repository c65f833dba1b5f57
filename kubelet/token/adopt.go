package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Claims are what is read of a token. It was written by boot where only root
// can write, so its signature is not looked at: the worst that a wrong one does
// is to be refused.
type claims struct {
	Audience   audiences `json:"aud"`
	Expires    int64     `json:"exp"`
	Issued     int64     `json:"iat"`
	Kubernetes struct {
		Pod struct {
			UID types.UID `json:"uid"`
		} `json:"pod"`
		// WarnAfter is when a token should be replaced that the API server lets
		// live for longer than it was asked for.
		WarnAfter int64 `json:"warnafter"`
	} `json:"kubernetes.io"`
}

// Audiences are one text or a list of them.
type audiences []string

// UnmarshalJSON reads either.
func (a *audiences) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audiences{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// adopt returns what an earlier process left, if it is a token of the pod for
// the audience, and nil if it is not.
func adopt(have []byte, p *v1.Pod, audience string) *token {
	parts := bytes.Split(have, []byte("."))
	if len(parts) != 3 {
		return nil
	}
	data, err := base64.RawURLEncoding.DecodeString(string(parts[1]))
	if err != nil {
		return nil
	}
	var c claims
	if err := json.Unmarshal(data, &c); err != nil {
		return nil
	}
	if c.Kubernetes.Pod.UID != p.UID || audience != "" && !slices.Contains(c.Audience, audience) {
		return nil
	}
	expires := time.Unix(c.Expires, 0)
	if c.Kubernetes.WarnAfter > 0 {
		expires = time.Unix(c.Kubernetes.WarnAfter, 0)
	}
	return &token{
		value: bytes.Clone(have), expires: expires,
		due: due(expires, expires.Sub(time.Unix(c.Issued, 0))),
	}
}
