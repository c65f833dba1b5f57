// Agent is the tests' hand in the machine: it runs what they ask for.
//
//	agent          carries out what comes by the serial port
//	agent get URL  prints what is at a URL of this machine, whoever serves it
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"boot.internal/backoff"
	"boot.internal/e2e/internal/vm"
)

func main() {
	serve := run
	if len(os.Args) == 3 && os.Args[1] == "get" {
		serve = get
	}
	if err := serve(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

// pause is how long is waited for somebody at the other end, of which the port tells
// readers nothing but that there is nobody.
const pause = time.Second

func run(ctx context.Context) (err error) {
	port, err := os.OpenFile("/dev/virtio-ports/"+vm.Port, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open the port: %w", err)
	}
	defer func() { err = errors.Join(err, port.Close()) }()
	for {
		if err := vm.Serve(ctx, port); !errors.Is(err, io.EOF) {
			return err
		}
		if !backoff.Sleep(ctx, pause) {
			return nil
		}
	}
}

// get prints what is at a URL. The machine is on no network: who serves it is this
// machine.
func get(ctx context.Context) (err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, os.Args[2], nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", request.URL, response.Status)
	}
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}
