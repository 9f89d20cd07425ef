// Package doctor finds out whether a host can be one of a mesh: what can encrypt
// here, whether the kernel takes the datapath's programs, what is lacking, and
// what to install or load. It asks the kernel by trying, in network namespaces
// that are gone afterwards, and needs no daemon.
//
// Out of its scope: changing anything, and how a mesh is doing.
package doctor
