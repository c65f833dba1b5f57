// Package proto stands in for the protobuf module of old, of which etcd's client has
// three functions left. The real one links the compiler's view of descriptors, which
// costs whoever merely links it 0.2 MB of memory for good, in every process.
//
// It has what etcd's client needs in order to compile, and nothing more. What it has
// does what the real one does.
package proto

import (
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// A Message is a message of either generation.
type Message = protoadapt.MessageV1

// Merge adds what is set in src to dst, which is of the same type.
func Merge(dst, src Message) {
	proto.Merge(protoadapt.MessageV2Of(dst), protoadapt.MessageV2Of(src))
}

// CompactTextString returns a message on one line, for people to read.
func CompactTextString(m Message) string {
	return prototext.MarshalOptions{AllowPartial: true}.Format(protoadapt.MessageV2Of(m))
}
