package service

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"boot.internal/atomicfile"
	"boot.internal/logfile"
)

// openrc runs the supervisor as an OpenRC service. OpenRC starts it with the host, and
// again should it ever be killed; restarting the loop, its readiness and its log are the
// supervisor's. It is supervise-daemon that does so: which start-stop-daemon there is,
// and what that can do, differs between distributions. Stopping the service ends the
// supervisor and with it the loop, and nothing of engine and pods, and waits for as long
// as that may take. Control groups are mounted by a service of their own where there is
// one. What /etc/conf.d/boot-kubelet exports is the loop's environment.
type openrc struct{ o Options }

func (r openrc) path() string { return filepath.Join(r.o.root, "etc/init.d", Name) }

func (r openrc) text() []byte {
	var args []string
	for _, a := range append(append([]string{}, r.o.Args...), SuperviseFlag) {
		args = append(args, shellQuote(a))
	}
	return fmt.Appendf(nil, `#!/sbin/openrc-run
# Written by boot; "boot reset" removes it.
description="boot: the Kubernetes node agent"
command=%s
command_args=%s
supervisor=supervise-daemon
pidfile=%s
respawn_delay=1
respawn_max=0
output_log=%s
error_log=%s
retry=TERM/%d/KILL/5
rc_ulimit="-n 1048576"

depend() {
	need localmount
	want cgroups
	use net dns
	after firewall containerd crio
}
`, shellQuote(r.o.Executable), shellQuote(strings.Join(args, " ")), shellQuote(filepath.Join(r.o.RunDir, "supervise-daemon.pid")),
		shellQuote(r.o.LogFile), shellQuote(r.o.LogFile), int(stopTimeout.Seconds()))
}

// shellQuote makes one word of s for a POSIX shell. The arguments are words
// inside a word: OpenRC has the shell read them once more.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (r openrc) running(ctx context.Context) (bool, error) {
	same, err := holds(r.path(), r.text())
	if err != nil || !same {
		return false, err
	}
	return detached(r).running(ctx)
}

func (r openrc) start(ctx context.Context) error {
	// By the script that started it, and before what it watches over is ended.
	if err := r.end(ctx); err != nil {
		return err
	}
	if err := atomicfile.Write(r.path(), r.text(), 0o755); err != nil {
		return err
	}
	if _, err := r.o.run(ctx, "rc-update", "add", Name, "default"); err != nil {
		return err
	}
	if err := detached(r).stop(ctx); err != nil {
		return err
	}
	log, offset, err := logfile.Open(r.o.LogFile)
	if err != nil {
		return err
	}
	if err := log.Close(); err != nil {
		return err
	}
	return await(ctx, r.o, offset, func() (<-chan error, error) {
		_, err := r.o.run(ctx, "rc-service", Name, "restart")
		return nil, err
	})
}

func (r openrc) left() (bool, error) { return there(r.path()) }

// end stops the service, if there is one.
func (r openrc) end(ctx context.Context) error {
	left, err := r.left()
	if err != nil || !left {
		return err
	}
	_, err = r.o.run(ctx, "rc-service", "--ifstarted", Name, "stop")
	return err
}

func (r openrc) stop(ctx context.Context) error {
	if left, err := r.left(); err != nil || !left {
		return err
	}
	if err := r.end(ctx); err != nil {
		return err
	}
	if err := detached(r).stop(ctx); err != nil {
		return err
	}
	if _, err := r.o.run(ctx, "rc-update", "del", Name, "default"); err != nil {
		return err
	}
	if err := os.Remove(r.path()); err != nil {
		return fmt.Errorf("remove the service: %w", err)
	}
	return nil
}
