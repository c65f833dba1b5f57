package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func TestCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	t.Setenv("TESTBOX", "set")
	for _, c := range []struct {
		line string // its words
		out  string // how what it says begins
		code int    // -1: any other error
	}{
		{"sleep 0", "", 0},
		{"sleep 1ms", "", 0},
		{"sleep soon", "", -1},
		{"exit 0", "", 0},
		{"exit 3", "", 3},
		{"exit 3 after 1ms", "", 3},
		{"exit 3 in 1ms", "", -1},
		{"log 2", "line 1\nline 2\n", 0},
		{"log 2 every 1ms", "line 1\nline 2\n", 0},
		{"exec-ok", "ok\n", 0},
		{"write " + file + " two words", "", 0},
		{"cat " + file, "two words\n", 0},
		{"cat", "input", 0},
		{"cat " + file + ".none", "", -1},
		{"ls " + filepath.Dir(file), "-rw", 0},
		{"env TESTBOX", "set\n", 0},
		{"env TESTBOX_UNSET", "", 1},
		{"id", "Uid:", 0},
		{"resolve localhost", "", 0},
		{"say one", "one\n", 0},
		{"test -d " + filepath.Dir(file), "", 0},
		{"test -d " + file, "", 1},
		{"test -f " + file + ".none", "", 1},
		{"tar tf -", "", -1},
		{"fly", "", -1},
		{"sleep", "", -1},
	} {
		words := strings.Split(c.line, " ")
		var out bytes.Buffer
		err := call(t.Context(), words[0], words[1:], stdio{strings.NewReader("input"), &out})
		if !strings.HasPrefix(out.String(), c.out) {
			t.Errorf("%s: said %q, want %q", c.line, &out, c.out)
		}
		if got := codeOf(err); got != c.code {
			t.Errorf("%s: code %d (%v), want %d", c.line, got, err, c.code)
		}
	}
}

func codeOf(err error) int {
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	return -1
}

// A container that is asked to stop has not failed, whatever it was doing.
func TestCommandsStopWhenAsked(t *testing.T) {
	for _, line := range []string{
		"sleep infinity", "sleep 1h", "exit 3 after 1h", "log 1000000 every 1h", "trap-term 1ms", "fill-memory 1",
		"http 127.0.0.1:0", "tcp 127.0.0.1:0", "grpc-health 127.0.0.1:0",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		words := strings.Split(line, " ")
		err := call(ctx, words[0], words[1:], stdio{strings.NewReader(""), io.Discard})
		if codeOf(err) != 0 || ctx.Err() == nil {
			t.Errorf("%s: %v, asked to stop: %v", line, err, ctx.Err() != nil)
		}
		cancel()
	}
}

func TestTrapTermEndsWithItsCode(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := call(ctx, "trap-term", []string{"1ms", "7"}, stdio{nil, io.Discard})
	if codeOf(err) != 7 {
		t.Error("ended with", err)
	}
}

// serve starts a server and returns where it listens.
func serve(t *testing.T, name string, args ...string) string {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- call(ctx, name, append([]string{"127.0.0.1:0"}, args...), stdio{nil, w}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
	})
	said := make([]byte, 100)
	n, err := r.Read(said)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(string(said[:n]), "listening on "))
}

func TestHTTPFollowsItsReadyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ready")
	url := "http://" + serve(t, "http", "--ready-file", file) + "/healthz"
	fetch := func() error { return call(t.Context(), "get", []string{url}, stdio{nil, io.Discard}) }
	if err := fetch(); err == nil || !strings.Contains(err.Error(), "503") {
		t.Error("without its file:", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fetch(); err != nil {
		t.Error("with its file:", err)
	}
}

func TestTCPEchoes(t *testing.T) {
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", serve(t, "tcp"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Errorf("echo %q, %v", got, err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestGRPCHealthFollowsItsReadyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ready")
	conn, err := grpc.NewClient(serve(t, "grpc-health", "--ready-file", file), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	client := grpc_health_v1.NewHealthClient(conn)
	check := func(want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		answer, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "any"})
		if err != nil || answer.GetStatus() != want {
			t.Errorf("answer %v, %v, want %v", answer.GetStatus(), err, want)
		}
	}
	check(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check(grpc_health_v1.HealthCheckResponse_SERVING)
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestTarIsThereAndBack(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(from, "file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := call(t.Context(), "tar", []string{"cf", "-", from}, stdio{nil, &archive}); err != nil {
		t.Fatal(err)
	}
	if err := call(t.Context(), "tar", []string{"-xmf", "-", "-C", to}, stdio{&archive, nil}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(to, from, "link"))
	if err != nil || string(got) != "content" {
		t.Errorf("came back: %q, %v", got, err)
	}
}
