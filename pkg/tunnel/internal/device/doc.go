// Package device is what the network devices of all tunnel drivers have in
// common: the alias that marks them as edgenet's, the node's address, the routes
// of the mesh into them, and the route that makes the mesh unreachable without
// them.
//
// Out of scope: how a device is made and what encrypts behind it.
package device
