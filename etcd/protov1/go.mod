// What etcd's client needs of the protobuf module of old: see proto/proto.go.
module github.com/golang/protobuf

go 1.26.0

require google.golang.org/protobuf v1.36.12
