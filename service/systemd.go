package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"

	"boot.internal/atomicfile"
)

// systemd runs the loop as a unit. Upstream's kubelet.service, where it goes further,
// is followed by containerd.service, because the engine is started by the loop:
//
//   - Pods and engine are in the unit's cgroup or below it and must survive it, hence
//     KillMode=process and Delegate. So does what they may use up: files, processes,
//     tasks and core dumps are theirs to limit.
//   - It is started again for ever. systemd would give up after five times.
//   - It ends before the network does, so that pods can say goodbye.
//   - The environment, such as a proxy for pulling images, is the administrator's.
type systemd struct{ o Options }

const unit = Name + ".service"

var _ backend = systemd{}

const unitText = `# Written by boot; "boot reset" removes it.
[Unit]
Description=boot: the Kubernetes node agent
Wants=network-online.target
After=network-online.target containerd.service crio.service
StartLimitIntervalSec=0

[Service]
Type=notify
EnvironmentFile=-/etc/default/boot-kubelet
EnvironmentFile=-/etc/sysconfig/boot-kubelet
ExecStart={{range $i, $a := .}}{{if $i}} {{end}}{{$a}}{{end}}
Restart=always
RestartSec=1
TimeoutStartSec=2min
KillMode=process
Delegate=yes
OOMScoreAdjust=-999
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity

[Install]
WantedBy=multi-user.target
`

func (s systemd) path() string { return filepath.Join(s.o.root, "etc/systemd/system", unit) }

func (s systemd) text() ([]byte, error) {
	t, err := template.New(unit).Parse(unitText)
	if err != nil {
		return nil, fmt.Errorf("parse the template of %s: %w", unit, err)
	}
	words := []string{systemdQuote(s.o.Executable)}
	for _, a := range s.o.Args {
		words = append(words, systemdQuote(a))
	}
	var b bytes.Buffer
	if err := t.Execute(&b, words); err != nil {
		return nil, fmt.Errorf("render %s: %w", unit, err)
	}
	return b.Bytes(), nil
}

// systemdQuote protects an argument from what systemd.service(5) expands.
func systemdQuote(arg string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `$$`, `%`, `%%`, "\n", `\n`).Replace(arg) + `"`
}

func (s systemd) running(ctx context.Context) (bool, error) {
	same, err := s.written()
	if err != nil || !same {
		return false, err
	}
	out, err := s.o.run(ctx, "systemctl", "show", "--property=ActiveState,MainPID", unit)
	if err != nil {
		return false, err
	}
	var state string
	var pid int
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "ActiveState":
			state = value
		case "MainPID":
			if _, err := fmt.Sscan(value, &pid); err != nil {
				return false, fmt.Errorf("read the main process of %s: %w", unit, err)
			}
		}
	}
	return state == "active" && sameProgram(pid, s.o.Executable), nil
}

// written reports whether the unit is on the disk as we would write it.
func (s systemd) written() (bool, error) {
	want, err := s.text()
	if err != nil {
		return false, err
	}
	return holds(s.path(), want)
}

func (s systemd) start(ctx context.Context) error {
	want, err := s.text()
	if err != nil {
		return err
	}
	if err := atomicfile.Write(s.path(), want, 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{{"daemon-reload"}, {"enable", unit}, {"restart", unit}} {
		if _, err := s.o.run(ctx, "systemctl", args...); err != nil {
			return s.withJournal(ctx, err)
		}
	}
	return nil
}

func (s systemd) withJournal(ctx context.Context, err error) error {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), journalTimeout)
	defer cancel()
	return withLog(err, "journalctl -u "+Name, journalTail(limited, s.o.run, 20))
}

// journalTimeout is how long the journal may take to tell why the loop has not
// started.
const journalTimeout = 10 * time.Second

// journalTail returns the last lines that the loop has logged to the journal.
func journalTail(ctx context.Context, run command, lines int) []string {
	out, err := run(ctx, "journalctl", "-u", unit, "-n", strconv.Itoa(lines), "--no-pager", "-o", "cat")
	if out = strings.TrimSpace(out); err != nil || out == "" || out == "-- No entries --" {
		return nil
	}
	return strings.Split(out, "\n")
}

func (s systemd) left() (bool, error) { return there(s.path()) }

func (s systemd) stop(ctx context.Context) error {
	if left, err := s.left(); err != nil || !left {
		return err
	}
	if _, err := s.o.run(ctx, "systemctl", "disable", "--now", unit); err != nil {
		return err
	}
	// One that failed would be listed for ever; one that did not is not known any more.
	_, _ = s.o.run(ctx, "systemctl", "reset-failed", unit)
	if err := os.Remove(s.path()); err != nil {
		return fmt.Errorf("remove the unit: %w", err)
	}
	_, err := s.o.run(ctx, "systemctl", "daemon-reload")
	return err
}

func there(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the service: %w", err)
	}
	return true, nil
}

// holds reports whether the file is there and has this content.
func holds(path string, want []byte) (bool, error) {
	have, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the service: %w", err)
	}
	return bytes.Equal(have, want), nil
}
