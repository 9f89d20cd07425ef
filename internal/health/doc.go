// Package health says in words what is wrong in a mesh, from what one node knows and
// what other nodes say of how they see it. A node may lie: what it says is bounded when
// it is taken (Take), counts as its own word only, and is named as such where nobody
// else says so.
//
// Out of its scope: asking (internal/daemon), and mending.
package health
