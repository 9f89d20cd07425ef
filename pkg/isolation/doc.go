// Package isolation keeps the VPCs on this host apart and connected: it
// attaches endpoints (containers, VMs, bare-metal devices) to the datapath in
// bpf/, fills the datapath's tables, and tells what became of the packets.
//
// The kernel is made equal to a [State] by [Datapath.Apply], as often as one
// likes. Nothing is pinned: the programs are attached to the devices without
// links, the programs hold the maps, and the next process that calls [Open] in
// the same network namespace finds both through the devices and adopts them.
// So the datapath outlives its process, and vanishes with its devices.
//
// Rules change all at once. What rules consist of (the policies of endpoints,
// the identities of addresses) is kept in pairs of slots, and one number, the
// generation, says which slot is in force. The slot that is not is written;
// then the generation is increased.
//
// All methods must be called in the network namespace in which the datapath was
// opened.
//
// Out of scope: where addresses are and who may talk to whom (the caller says
// so), how tunnels are made (packets are redirected to their devices), and
// records of any kind.
package isolation
