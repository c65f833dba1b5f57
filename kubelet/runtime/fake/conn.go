package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// A conn calls the handlers of a service in this process, as a gRPC connection
// calls them in another: messages are copied, and when the context ends the
// call is over.
type conn struct {
	desc   *grpc.ServiceDesc
	server *server
}

// Invoke makes a call with one answer.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	name := path.Base(method)
	for _, m := range c.desc.Methods {
		if m.MethodName != name {
			continue
		}
		in, out, err := messages(args, reply)
		if err != nil {
			return err
		}
		if err := c.server.begin(ctx, name, in); err != nil {
			return asStatus(err)
		}
		answer, err := m.Handler(c.server, ctx, decode(in), nil)
		if err != nil {
			return asStatus(err)
		}
		return copyMessage(out, answer)
	}
	return status.Errorf(codes.Unimplemented, "no method %s", method)
}

// messages returns both as protocol buffers.
func messages(args, reply any) (in, out proto.Message, err error) {
	in, ok1 := args.(proto.Message)
	out, ok2 := reply.(proto.Message)
	if !ok1 || !ok2 {
		return nil, nil, fmt.Errorf("call with %T and %T: not protocol buffers", args, reply)
	}
	return in, out, nil
}

func decode(in proto.Message) func(any) error {
	return func(to any) error { return copyMessage(to, in) }
}

func copyMessage(to, from any) error {
	dst, src, err := messages(to, from)
	if err != nil {
		return err
	}
	proto.Reset(dst)
	proto.Merge(dst, src)
	return nil
}

func asStatus(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	return err
}

// NewStream opens a stream on which only the server sends.
func (c *conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := c.server.begin(ctx, desc.StreamName, nil); err != nil {
		return nil, asStatus(err)
	}
	s := &stream{ctx: ctx, messages: make(chan proto.Message), done: make(chan struct{})}
	for _, d := range c.desc.Streams {
		if d.StreamName == desc.StreamName {
			go func() {
				defer close(s.done)
				s.err = d.Handler(c.server, serverSide{stream: s})
			}()
			return clientSide{stream: s}, nil
		}
	}
	return nil, status.Errorf(codes.Unimplemented, "no stream %s", desc.StreamName)
}

// A stream is both ends of one.
type stream struct {
	ctx      context.Context //nolint:containedctx // gRPC asks a stream for its context
	messages chan proto.Message
	done     chan struct{} // closed when the server is done; err is set then
	err      error
}

type serverSide struct {
	grpc.ServerStream
	*stream
}

func (s serverSide) Context() context.Context { return s.ctx }
func (s serverSide) RecvMsg(any) error        { return nil } // the request of the fake's streams is empty

func (s serverSide) SendMsg(m any) error {
	message, ok := m.(proto.Message)
	if !ok {
		return fmt.Errorf("send %T: not a protocol buffer", m)
	}
	select {
	case s.messages <- proto.Clone(message):
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

type clientSide struct {
	grpc.ClientStream
	*stream
}

func (c clientSide) Context() context.Context { return c.ctx }
func (c clientSide) SendMsg(any) error        { return nil }
func (c clientSide) CloseSend() error         { return nil }

func (c clientSide) RecvMsg(to any) error {
	select {
	case m := <-c.messages:
		return copyMessage(to, m)
	case <-c.ctx.Done():
		return asStatus(c.ctx.Err())
	case <-c.done:
		if c.err == nil {
			return io.EOF
		}
		return asStatus(c.err)
	}
}
