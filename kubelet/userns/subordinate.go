package userns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// account is whom the administrator sets IDs aside for.
const account = "kubelet"

// subordinate asks getsubids, which knows of /etc/subuid and of directories in
// the network. Without the user or the tool nothing is set aside. Where both are
// there, no answer is an error: the directory may be out of reach.
func subordinate() (first, count uint32, err error) {
	_, err = user.Lookup(account)
	if unknown := user.UnknownUserError(""); errors.As(err, &unknown) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	tool, err := exec.LookPath("getsubids")
	if errors.Is(err, exec.ErrNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	users, err := exec.CommandContext(ctx, tool, account).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("error retrieving additional uids for user %q: %w", account, err)
	}
	groups, err := exec.CommandContext(ctx, tool, "-g", account).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("error retrieving additional gids for user %q: %w", account, err)
	}
	if !bytes.Equal(users, groups) {
		return 0, 0, fmt.Errorf("mismatched subuids and subgids for user %q", account)
	}
	return parseSubIDs(string(users))
}

// parseSubIDs reads the one line that getsubids must print:
//
//	0: kubelet 65536 2147483648
func parseSubIDs(out string) (first, count uint32, err error) {
	fields := strings.Fields(out)
	if strings.Count(strings.Trim(out, "\n"), "\n") > 0 || len(fields) != 4 {
		return 0, 0, fmt.Errorf("invalid line %q of getsubids: it must be one, with four words", out)
	}
	a, errA := strconv.ParseUint(fields[2], 10, 32)
	b, errB := strconv.ParseUint(fields[3], 10, 32)
	if err := errors.Join(errA, errB); err != nil {
		return 0, 0, fmt.Errorf("invalid line %q of getsubids: %w", out, err)
	}
	return uint32(a), uint32(b), nil
}
