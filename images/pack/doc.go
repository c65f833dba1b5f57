// Package pack turns files into container images, and images into OCI archives.
//
// It decides the formats: one layer per image, compressed with zstd, in OCI
// layouts that name every image in full. The same input always gives the same
// bytes, so that an image keeps its digest on every machine. What goes into
// which image is left to the caller.
package pack
