package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"k8s.io/client-go/util/keyutil"

	"boot.internal/atomicfile"
	"boot.internal/hint"
)

// serviceAccount is the key pair that signs and checks service account tokens.
// Like an authority it is never replaced: every token would be worth nothing.
type serviceAccount struct {
	o         Options
	files     Pair
	authority authority // only to tell whether this machine may make keys
}

// Look implements item.
func (s serviceAccount) Look() (Status, error) {
	key, keyErr := readKey(s.files.Key)
	pub, pubErr := os.ReadFile(s.files.Cert)
	noKey, noPub := errors.Is(keyErr, fs.ErrNotExist), errors.Is(pubErr, fs.ErrNotExist)
	switch {
	case noKey && noPub:
		return Status{Missing, "is missing"}, s.mayMake()
	case noKey:
		return Status{}, hint.With(fmt.Errorf("%s is there, but %s is missing", s.files.Cert, s.files.Key),
			"restore the key from a backup; without it no token can be signed, and with a new one no old token is good")
	case keyErr != nil:
		return Status{}, hint.With(keyErr, "restore it from a backup")
	case noPub:
		return Status{Unfit, "has no public half in " + s.files.Cert}, nil
	case pubErr != nil:
		return Status{}, pubErr
	}
	// The file may hold more keys, as it does while keys are rotated.
	keys, err := keyutil.ParsePublicKeysPEM(pub)
	if err != nil || !slices.ContainsFunc(keys, func(k any) bool { return belong(k, key) }) {
		return Status{}, hint.With(fmt.Errorf("%s does not hold the public key of %s", s.files.Cert, s.files.Key),
			"remove "+s.files.Cert+" to have it made again from the key")
	}
	return Status{State: Fits}, nil
}

// mayMake refuses to make keys where the CA is external: all API servers of
// such a cluster have to share what they are given.
func (s serviceAccount) mayMake() error {
	ca, err := s.authority.load()
	if err != nil || !ca.external() {
		return err
	}
	return hint.With(fmt.Errorf("%s and %s are missing, and the CA's key %s is not on this machine either",
		s.files.Key, s.files.Cert, s.authority.files.Key), "put the cluster's service account keys there")
}

// Plan implements item.
func (s serviceAccount) Plan() ([]Write, error) {
	status, err := s.Look()
	if err != nil || status.State == Fits {
		return nil, err
	}
	var writes []Write
	if status.State == Missing {
		writes = append(writes, keyWrite(s.o.Algorithm, s.files.Key, ""))
	}
	return append(writes, Write{Path: s.files.Cert, Do: s.publish}), nil
}

func (s serviceAccount) publish() error {
	key, err := readKey(s.files.Key)
	if err != nil {
		return err
	}
	data, err := publicPEM(key.Public())
	if err != nil {
		return fmt.Errorf("encode %s: %w", s.files.Cert, err)
	}
	return atomicfile.Write(s.files.Cert, data, 0o644)
}
