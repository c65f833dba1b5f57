package main

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"
)

//go:embed versions.env
var versionsFile string

// Versions are the versions of all components, by their name in versions.env.
type Versions map[string]string

func parseVersions(text string) (Versions, error) {
	v := Versions{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || value == "" {
			return nil, fmt.Errorf("parse versions.env: %q is not NAME=VERSION", line)
		}
		v[name] = value
	}
	return v, nil
}

// Epoch is the one time that is stamped on everything.
func (v Versions) Epoch() (time.Time, error) {
	seconds, err := strconv.ParseInt(v["SOURCE_DATE_EPOCH"], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("parse SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// minor returns the first two numbers of a version such as v1.37.2.
func minor(version string) (major, minor string) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return parts[0], ""
	}
	return parts[0], parts[1]
}
