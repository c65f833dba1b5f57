package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"boot.internal/certs"
	"boot.internal/hint"
)

// Exit codes of "boot certs check", for monitoring.
const (
	exitExpiring = 4 // a certificate ends soon
	exitExpired  = 5 // a certificate has ended, or is no good
)

func newCertsCheck(ui *ui, f *certsFlags) *cobra.Command {
	var output, warn string
	c := &cobra.Command{
		Use:     "check",
		Aliases: []string{"check-expiration"},
		Short:   "List the certificates of this node and when they end",
		Long: `List the certificates of this node and when they end.

The exit code is 0 if all is well, 4 if a certificate ends soon, and 5 if one has
ended or cannot be used. Soon is within 30 days, or within a sixth of its life if
that is less: by then the node agent should long have renewed it.`,
		Example: `  boot certs check

  # For scripts, and for monitoring by exit code
  boot certs check -o json
  boot certs check --warn 60d || echo "look at the certificates"`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return runCertsCheck(ui, *f, output, warn) },
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`format`: json or yaml; a table if not set")
	c.Flags().StringVar(&warn, "warn", "", "`time` that has to be left, such as 30d or 12h, of all certificates alike")
	return c
}

// A heldCertificate is a certificate as it is printed.
type heldCertificate struct {
	Name      string     `json:"name"`
	Path      string     `json:"path"`
	CA        string     `json:"ca,omitempty"` // empty for an authority
	State     string     `json:"state"`        // ok, expiring, expired or unusable
	Expires   *time.Time `json:"expires,omitempty"`
	Remaining int64      `json:"remainingSeconds"` // negative if it has ended
	External  bool       `json:"externallyManaged"`
	Error     string     `json:"error,omitempty"`
}

// The states of a certificate as it is printed.
const (
	certOK       = "ok"
	certExpiring = "expiring"
	certExpired  = "expired"
	certUnusable = "unusable"
)

func runCertsCheck(ui *ui, f certsFlags, output, warn string) error {
	limit, err := parseDays(warn)
	if err != nil {
		return withCode(exitValidation, err)
	}
	held := certs.Hold(f.places())
	if len(held) == 0 {
		return hint.With(fmt.Errorf("there is no certificate in %s", f.certDir), "run this on a node, as root")
	}
	var all []heldCertificate
	for _, h := range held {
		all = append(all, printedCertificate(h, limit, time.Now()))
	}
	if output != "" {
		err = ui.object(output, all)
	} else {
		err = ui.certificates(all)
	}
	if err != nil {
		return err
	}
	return judgeCertificates(all)
}

func printedCertificate(h certs.Held, warn time.Duration, now time.Time) heldCertificate {
	p := heldCertificate{Name: h.Name, Path: h.Path, CA: h.CA, External: h.External, State: certOK}
	if h.Certificate != nil {
		if warn == 0 {
			warn = min(30*24*time.Hour, h.Lives()/6)
		}
		end := h.Certificate.NotAfter.UTC()
		p.Expires, p.Remaining = &end, int64(h.Left(now).Seconds())
		switch {
		case h.Left(now) <= 0:
			p.State = certExpired
		case h.Left(now) <= warn:
			p.State = certExpiring
		}
	}
	if h.Err != nil {
		p.State, p.Error = certUnusable, h.Err.Error()
	}
	return p
}

// judgeCertificates is the exit code in words.
func judgeCertificates(all []heldCertificate) error {
	var bad, soon []string
	for _, c := range all {
		switch c.State {
		case certExpired, certUnusable:
			bad = append(bad, c.Name)
		case certExpiring:
			soon = append(soon, c.Name)
		}
	}
	const advice = "'boot certs renew' renews what can be renewed here; docs/certificates.md tells what to do about authorities"
	if len(bad) > 0 {
		return withCode(exitExpired, hint.With(fmt.Errorf("ended or unusable: %s", strings.Join(bad, ", ")), advice))
	}
	if len(soon) > 0 {
		return withCode(exitExpiring, hint.With(fmt.Errorf("about to end: %s", strings.Join(soon, ", ")), advice))
	}
	return nil
}

// certificates prints a table.
func (u *ui) certificates(all []heldCertificate) error {
	w := tabwriter.NewWriter(u.out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "NAME\tEXPIRES\tREMAINING\tCA\tEXTERNALLY MANAGED")
	for _, c := range all {
		expires, left := "-", c.Error
		if c.Expires != nil {
			expires = c.Expires.Format("Jan 02, 2006 15:04 MST")
		}
		switch {
		case left != "":
		case c.State == certExpired:
			left = "ended " + daysOf(time.Duration(-c.Remaining)*time.Second) + " ago"
		default:
			left = daysOf(time.Duration(c.Remaining) * time.Second)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.Name, expires, left, dash(c.CA), yesNo(c.External))
	}
	return w.Flush()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// daysOf is a time as people read it, of what counts in years, days or less.
func daysOf(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*365*day:
		return strconv.Itoa(int(d/(365*day))) + "y"
	case d >= 2*day:
		return strconv.Itoa(int(d/day)) + "d"
	case d >= 2*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	default:
		return d.Round(time.Second).String()
	}
}

// parseDays reads a duration of Go's, or a number of days: "30d". Empty is 0.
func parseDays(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	var d time.Duration
	var err error
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(n) * 24 * time.Hour
	} else {
		d, err = time.ParseDuration(text)
	}
	if err != nil || d <= 0 {
		return 0, hint.With(fmt.Errorf("%q is no time", text), "say it in days or hours: 30d, 12h")
	}
	return d, nil
}
