package mesh

import (
	"crypto/ed25519"
	"net/netip"
	"time"
)

// Role is something that a node's certificate allows it to be.
type Role string

// The roles of a node.
const (
	RoleEdge      Role = "edge"
	RoleCloud     Role = "cloud"
	RoleGateway   Role = "gateway"
	RoleRelay     Role = "relay"
	RoleAuthority Role = "authority"
)

// NodeID is the lower-case hexadecimal SHA-256 of a node's public key (PKIX,
// DER), cut to 40 digits. Its first 10 digits are the node's part of its /64.
type NodeID string

// ID is the same of the mesh authority's first key, cut to 40 digits. Its first
// four digits are the mesh's part of every /64.
type ID string

// Kind is a kind of record, and so who may sign it.
type Kind string

// The kinds of records.
const (
	// KindNode is a node's word about itself: key is its NodeID.
	KindNode Kind = "node"
	// KindEndpoint is a node's word about an endpoint of its own: key is
	// NodeID/VNI/name. Only that node may sign it.
	KindEndpoint Kind = "endpoint"
	// KindVPC is a VPC: key is its name. Only an authority may sign it.
	KindVPC Kind = "vpc"
	// KindGroup is a security group: key is VNI/name. Only an authority may
	// sign it.
	KindGroup Kind = "group"
	// KindTests are the policy tests of a VPC: key is its VNI. Only an authority
	// may sign it.
	KindTests Kind = "tests"
	// KindShadow are candidate groups of a VPC: key is its VNI. Only an authority
	// may sign it.
	KindShadow Kind = "shadow"
	// KindTunnels says what pairs of nodes encrypt with: key is PolicyKey. Only an
	// authority may sign it.
	KindTunnels Kind = "tunnels"
	// KindGrant lets a node attach one endpoint, where grants are required: key is
	// that of the endpoint, NodeID/VNI/name. Only an authority may sign it.
	KindGrant Kind = "grant"
	// KindSettings says what holds in the whole mesh: key is SettingsKey. Only an
	// authority may sign it.
	KindSettings Kind = "settings"
	// KindEviction takes a node out for good: key is its NodeID, with evictionByMesh
	// after it if the mesh's key says so. Only an authority may sign it, by Evict.
	KindEviction Kind = "eviction"
	// KindGossipKey has the gossip key, sealed to each node: key is GossipKeyKey.
	// Only an authority may sign it, by RotateGossipKey or Evict.
	KindGossipKey Kind = "gossipkey"
)

// PolicyKey is the key of the one record of KindTunnels in a mesh.
const PolicyKey = "policy"

// SettingsKey is the key of the one record of KindSettings in a mesh.
const SettingsKey = "mesh"

// GossipKeyKey is the key of the one record of KindGossipKey.
const GossipKeyKey = "gossip"

// Version orders the writes of one record and the claims on one address: a
// hybrid logical clock (Kulkarni et al., 2014), milliseconds since 1970 in the
// upper 48 bits, a counter in the lower 16.
type Version uint64

// Record is one verified piece of replicated state.
type Record struct {
	Kind    Kind
	Key     string
	Version Version
	// Node signed it.
	Node NodeID
	// Deleted marks a tombstone; its payload is empty.
	Deleted bool
	// Payload is the owner's business; mesh does not look inside, except in
	// KindNode.
	Payload []byte
}

// Link is one underlay address of a node.
type Link struct {
	Addr    netip.Addr
	Carrier string
}

// State says how a node is seen from here.
type State string

// The states of a node.
const (
	StateAlive   State = "alive"
	StateSuspect State = "suspect"
	StateDead    State = "dead"
	StateLeft    State = "left"
	StateEvicted State = "evicted"
	StateExpired State = "expired"
)

// Gone tells whether a node in the state is no member any more: nobody has anything
// to do with it.
func (s State) Gone() bool {
	return s == StateLeft || s == StateEvicted || s == StateExpired
}

// Node is a member of the mesh, as its certificate and its own record say.
type Node struct {
	ID    NodeID
	Name  string
	Roles []Role
	State State
	// Since is since when this node sees it in that state; zero if it is alive, has
	// left, or is not looked for now.
	Since time.Time
	Links []Link
	// Prefix is the node's /64 on the overlay; Addr its own address there.
	Prefix netip.Prefix
	Addr   netip.Addr
	// PublicKey is the key that its id is the hash of.
	PublicKey ed25519.PublicKey
	// Version of its edgenetd.
	Version string
	// CertificateBegins is when its certificate was made, which is valid from some time
	// before, and CertificateExpires its end.
	CertificateBegins, CertificateExpires time.Time
	// Announcement is what the node's owner wants others to know, for instance
	// its tunnel keys and ports. At most 1 KiB.
	Announcement []byte
	// Local is true for this node.
	Local bool
}
