package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// A call is one call as the tests look for it in the log.
type call struct {
	Method            string
	Request, Response any
	Error             string      // empty for none
	FullError         *spb.Status `json:",omitempty"`
}

// note logs a call once it has been answered, secrets and all: there are none
// but those of tests.
func note(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	resp, err := handle(ctx, req)
	c := call{Method: info.FullMethod, Request: req, Response: resp}
	if err != nil {
		c.Response, c.Error, c.FullError = nil, err.Error(), status.Convert(err).Proto()
	}
	line, jsonErr := json.Marshal(c)
	if jsonErr != nil {
		return nil, jsonErr
	}
	_, _ = fmt.Fprintf(os.Stderr, "gRPCCall: %s\n", line)
	return resp, err
}
