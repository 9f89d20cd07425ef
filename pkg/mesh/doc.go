// Package mesh says who is there, and what is true.
//
// A Mesh is one node's part in a mesh. It keeps the node's key and certificate,
// finds the other nodes and notices when they die (memberlist), and keeps a copy
// of all records: small pieces of state, each signed by the node that it is
// from, verified before it is believed, ordered by a hybrid logical clock, and
// spread by gossip and by comparison with peers. It also serves the peer API, one TLS
// port over which nodes join and synchronize, and which carries the owner's own
// calls between nodes.
//
// Being a member in gossip proves nothing: a node exists by its own signed
// record, whose certificate the mesh's authority has issued. Gossip only says
// whether the node is alive.
//
// Out of scope: tunnels, packets, and what the payload of a record means, which
// is the owner's business. There is no consensus: of two writes of one record
// the later wins everywhere, and a node that is cut off goes on with what it
// knows. A deletion is remembered for a day; a node that was away for longer can
// bring back what was deleted meanwhile.
package mesh
