package ipsec

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// The proposals are all there is: what is not in them is refused. Each is
// authenticated encryption with an ephemeral X25519, for the first key and for
// each that follows.
var (
	ikeProposals = []string{"aes256gcm16-prfsha384-x25519", "chacha20poly1305-prfsha256-x25519"}
	espProposals = []string{"aes256gcm16-x25519", "chacha20poly1305-x25519"}
)

// anywhere lets a peer behind a NAT, whose address is not the announced one,
// begin a conversation; its key still has to be the pinned one.
var anywhere = []string{"0.0.0.0/0", "::/0"}

// replayWindow is how far packets may overtake each other, in packets. strongSwan's
// 32 is less than what several queues of one card reorder.
const replayWindow = 1024

// maxPackets is when a child SA is replaced for its packets' sake, well before
// the 32 bits of its sequence number are used up; there is no ESN in userspace.
const maxPackets = 1 << 31

// ikeConfig is a peer in vici's terms (load-conn).
type ikeConfig struct {
	Version     int                    `vici:"version"`
	LocalPort   uint16                 `vici:"local_port"`
	RemoteAddrs []string               `vici:"remote_addrs"`
	RemotePort  uint16                 `vici:"remote_port"`
	Proposals   []string               `vici:"proposals"`
	Encap       bool                   `vici:"encap"`
	Mobike      bool                   `vici:"mobike"`
	Unique      string                 `vici:"unique"`
	KeyingTries int                    `vici:"keyingtries"`
	DPDDelay    string                 `vici:"dpd_delay"`
	ReauthTime  string                 `vici:"reauth_time"`
	RekeyTime   string                 `vici:"rekey_time"`
	OverTime    string                 `vici:"over_time"`
	RandTime    string                 `vici:"rand_time"`
	Local       authConfig             `vici:"local"`
	Remote      authConfig             `vici:"remote"`
	Children    map[string]childConfig `vici:"children"`
}

type authConfig struct {
	Auth    string   `vici:"auth"`
	ID      string   `vici:"id"`
	PubKeys []string `vici:"pubkeys"`
}

type childConfig struct {
	LocalTS      []string `vici:"local_ts"`
	RemoteTS     []string `vici:"remote_ts"`
	Proposals    []string `vici:"esp_proposals"`
	Mode         string   `vici:"mode"`
	RekeyTime    string   `vici:"rekey_time"`
	LifeTime     string   `vici:"life_time"`
	RandTime     string   `vici:"rand_time"`
	RekeyPackets uint64   `vici:"rekey_packets"`
	LifePackets  uint64   `vici:"life_packets"`
	RandPackets  uint64   `vici:"rand_packets"`
	StartAction  string   `vici:"start_action"`
	DPDAction    string   `vici:"dpd_action"`
	CloseAction  string   `vici:"close_action"`
	ReqID        uint32   `vici:"reqid"`
	IfIDIn       uint32   `vici:"if_id_in"`
	IfIDOut      uint32   `vici:"if_id_out"`
	ReplayWindow int      `vici:"replay_window"`
}

// child returns the configuration's only child.
func (c ikeConfig) child() (string, childConfig) {
	for name, child := range c.Children {
		return name, child
	}
	return "", childConfig{}
}

// local is this node's half of all its peers' configuration.
type local struct {
	key       tunnel.PublicKey
	device    tunnel.Device
	ifID      uint32 // 0 for KindUserspace
	lifetimes Lifetimes
}

// config returns what charon has to be told of a peer.
func (l local) config(want tunnel.Peer, reqID uint32) (ikeConfig, error) {
	ours, err := l.auth(l.key)
	if err != nil {
		return ikeConfig{}, err
	}
	theirs, err := l.auth(want.PublicKey)
	if err != nil {
		return ikeConfig{}, err
	}
	prefix := netip.PrefixFrom(l.device.Address, want.Prefix.Bits()).Masked()
	age := l.ages(want.Prefix)
	c := ikeConfig{
		Version:     2,
		LocalPort:   l.device.ListenPort,
		RemoteAddrs: anywhere,
		Proposals:   ikeProposals,
		Encap:       true,
		// Else a node whose charon was started anew would have its peers end the
		// old SAs before the new ones are there; see converse.
		Unique:      "never",
		KeyingTries: 1,
		DPDDelay:    seconds(want.Keepalive),
		ReauthTime:  "0",
		RekeyTime:   seconds(age.IKE),
		OverTime:    seconds(grace(l.lifetimes.IKE)),
		RandTime:    seconds(l.lifetimes.IKE / 10),
		Local:       ours,
		Remote:      theirs,
	}
	if want.Endpoint.IsValid() {
		c.RemoteAddrs = append([]string{want.Endpoint.Addr().String()}, anywhere...)
		c.RemotePort = want.Endpoint.Port()
	}
	child := childConfig{
		LocalTS:      []string{prefix.String()},
		RemoteTS:     []string{want.Prefix.String()},
		Proposals:    espProposals,
		Mode:         "tunnel",
		RekeyTime:    seconds(age.Child),
		LifeTime:     seconds(l.lifetimes.Child + grace(l.lifetimes.Child)),
		RandTime:     seconds(l.lifetimes.Child / 10),
		RekeyPackets: age.packets,
		LifePackets:  maxPackets + maxPackets/2,
		RandPackets:  maxPackets / 8,
		StartAction:  "none",
		DPDAction:    "clear",
		CloseAction:  "none",
		ReqID:        reqID,
		IfIDIn:       l.ifID,
		IfIDOut:      l.ifID,
		ReplayWindow: replayWindow,
	}
	name := childName{port: c.RemotePort, reqID: reqID, digest: digest(c, child)}
	c.Children = map[string]childConfig{name.String(): child}
	return c, nil
}

// rekeyAges are how old keys become before an end replaces them.
type rekeyAges struct {
	Lifetimes
	packets uint64
}

// ages are this node's. One end replaces keys, and the other one where that did not:
// with the higher prefix, its time begins when the first one's is over. Both at the
// same moment is what strongSwan before 6.0 does not always end well; see Renew.
func (l local) ages(peer netip.Prefix) rekeyAges {
	a := rekeyAges{l.lifetimes, maxPackets}
	if !l.device.Address.Less(peer.Addr()) {
		a.IKE += a.IKE/10 + later(a.IKE)
		a.Child += a.Child/10 + later(a.Child)
		a.packets += maxPackets / 4
	}
	return a
}

// later is a twentieth, and a second at least, as charon counts in seconds.
func later(age time.Duration) time.Duration { return max(age/20, time.Second) }

func (l local) auth(key tunnel.PublicKey) (authConfig, error) {
	id, err := Identity(key)
	if err != nil {
		return authConfig{}, err
	}
	text, err := PublicPEM(key)
	if err != nil {
		return authConfig{}, err
	}
	return authConfig{Auth: "pubkey", ID: id, PubKeys: []string{text}}, nil
}

// grace is how long an SA lives on when it was to be replaced: a quarter of its
// age, and so long that charon tries again before its end. When the replacements
// of an IKE SA and of its child meet, it waits for 10 to 30 s.
func grace(age time.Duration) time.Duration { return max(age/4, time.Minute) }

// seconds rounds up, as strongSwan has no fractions of a second.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10) + "s"
}

// digest changes with anything of a configuration: what charon says of its own
// does not include all of it.
func digest(c ikeConfig, child childConfig) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v %+v", c, child))
	return hex.EncodeToString(sum[:4])
}

// childName is the name of a child configuration. It carries what charon does
// not say of a configuration, so that a driver can adopt it.
type childName struct {
	port   uint16 // the peer's
	reqID  uint32
	digest string
}

// String is the reverse of parseChildName.
func (n childName) String() string { return fmt.Sprintf("p%d-r%d-%s", n.port, n.reqID, n.digest) }

func parseChildName(s string) (childName, bool) {
	port, rest, ok1 := strings.Cut(s, "-")
	reqID, digest, ok2 := strings.Cut(rest, "-")
	p, err1 := strconv.ParseUint(strings.TrimPrefix(port, "p"), 10, 16)
	r, err2 := strconv.ParseUint(strings.TrimPrefix(reqID, "r"), 10, 32)
	n := childName{port: uint16(p), reqID: uint32(r), digest: digest}
	return n, ok1 && ok2 && err1 == nil && err2 == nil && n.String() == s
}

// connName is the name of a peer's configuration.
func connName(key tunnel.PublicKey) string { return hex.EncodeToString(key[:]) }

func parseConnName(s string) (tunnel.PublicKey, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(tunnel.PublicKey{}) {
		return tunnel.PublicKey{}, false
	}
	return tunnel.PublicKey(b), true
}
