package credential

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
)

// logins are those of a file that docker login writes, by registry.
type logins map[string]Login

// errMalformed is all that is said of a file with secrets in it.
var errMalformed = errors.New("malformed registry credentials")

// readConfigJSON reads the form of .docker/config.json and of secrets of type
// kubernetes.io/dockerconfigjson.
func readConfigJSON(data []byte) (logins, error) {
	var file struct {
		Auths logins `json:"auths"`
	}
	if json.Unmarshal(data, &file) != nil { // the error might quote a secret
		return nil, errMalformed
	}
	return file.Auths, nil
}

// readDockercfg reads the older form, of .dockercfg and of secrets of type
// kubernetes.io/dockercfg.
func readDockercfg(data []byte) (logins, error) {
	var all logins
	if json.Unmarshal(data, &all) != nil {
		return nil, errMalformed
	}
	return all, nil
}

// UnmarshalJSON reads one entry. Where it has "auth", that counts.
func (l *Login) UnmarshalJSON(data []byte) error {
	var entry struct{ Username, Password, Email, Auth string }
	if json.Unmarshal(data, &entry) != nil {
		return errMalformed
	}
	*l = Login{entry.Username, entry.Password, entry.Email}
	if entry.Auth == "" {
		return nil
	}
	encoding := base64.RawStdEncoding
	if strings.HasSuffix(strings.TrimSpace(entry.Auth), "=") {
		encoding = base64.StdEncoding
	}
	plain, err := encoding.DecodeString(entry.Auth)
	if err != nil {
		return errMalformed
	}
	var found bool
	if l.Username, l.Password, found = strings.Cut(string(plain), ":"); !found {
		return errMalformed
	}
	return nil
}
