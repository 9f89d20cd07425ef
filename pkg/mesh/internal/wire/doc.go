// Package wire is the protobuf that nodes of a mesh exchange and store, and its
// strict decoding. What the messages mean, and whether they are to be believed,
// is pkg/mesh's business.
package wire
