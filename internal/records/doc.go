// Package records defines the payloads of the mesh's replicated records other
// than the node's own, their keys, and what makes them valid: nothing that
// fails Validate is ever stored, passed on or acted upon.
//
// Out of its scope: how records travel and who may sign them (pkg/mesh), and
// what follows from them (internal/daemon).
package records
