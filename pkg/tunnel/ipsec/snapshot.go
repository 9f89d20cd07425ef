package ipsec

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/strongswan/govici/vici"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// snapshotAge is how long a snapshot serves: a Put of each of a thousand peers
// must not list for each.
const snapshotAge = time.Second

// snapshot is what charon was seen to have, kept up with what the driver changed
// since.
type snapshot struct {
	at    time.Time
	conns map[tunnel.PublicKey]conn
	sas   map[tunnel.PublicKey][]ikeSA
	// strays are names of configurations and SAs that are no peer's.
	strays []string
	// loaded are those strays that have a configuration.
	loaded map[string]bool
}

// conn is a peer as it is configured.
type conn struct {
	child     childName
	endpoint  netip.AddrPort
	prefix    netip.Prefix
	keepalive time.Duration
}

// ikeSA is one conversation with a peer.
type ikeSA struct {
	id     uint32
	state  string
	remote netip.AddrPort
	// behindNAT: the peer sees this node at another address.
	behindNAT bool
	children  []childSA
	// established is zero before it is.
	established time.Time
}

// childSA is one pair of ESP SAs.
type childSA struct {
	id            uint32
	state         string
	reqID         uint32
	spiIn, spiOut uint32
	rx, tx        uint64
	cipher        string
	installed     time.Time
	// replayed and forged are packets that the kernel has dropped.
	replayed, forged uint64
}

func (s *snapshot) fresh(now time.Time) bool {
	age := now.Sub(s.at)
	return age >= 0 && age < snapshotAge
}

// connecting says that an IKE SA is still being made.
func (sa ikeSA) connecting() bool { return sa.state == "CREATED" || sa.state == "CONNECTING" }

// lasts says that the peer was authenticated and that the SA is to stay.
func (sa ikeSA) lasts() bool { return sa.state == "ESTABLISHED" || sa.state == "REKEYING" }

// newest returns the child that was installed last and carries packets, or nil.
func (sa ikeSA) newest() *childSA {
	var found *childSA
	for i, c := range sa.children {
		if c.carries() && (found == nil || c.installed.After(found.installed)) {
			found = &sa.children[i]
		}
	}
	return found
}

func (c childSA) carries() bool {
	switch c.state {
	case "INSTALLED", "UPDATING", "REKEYING", "REKEYED":
		return true
	}
	return false
}

// read takes a new snapshot.
func (d *driver) read(ctx context.Context) (*snapshot, error) {
	d.seen = nil
	s := &snapshot{
		at:     d.now(),
		conns:  make(map[tunnel.PublicKey]conn),
		sas:    make(map[tunnel.PublicKey][]ikeSA),
		loaded: make(map[string]bool),
	}
	err := d.talk(ctx, func(v *vici.Session) error {
		conns, err := stream(v, "list-conns", "list-conn")
		if err != nil {
			return err
		}
		for _, m := range conns {
			s.addConns(m)
		}
		sas, err := stream(v, "list-sas", "list-sa")
		if err != nil {
			return err
		}
		for _, m := range sas {
			s.addSAs(m)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read charon: %w", err)
	}
	d.ages.settle(s.sas)
	d.seen = s
	return s, nil
}

// recent returns a snapshot that is young enough to decide by.
func (d *driver) recent(ctx context.Context) (*snapshot, error) {
	if d.seen != nil && d.seen.fresh(d.now()) {
		return d.seen, nil
	}
	return d.read(ctx)
}

// addConns takes one message of list-conns. What no Put made is a stray.
func (s *snapshot) addConns(m *vici.Message) {
	for _, name := range m.Keys() {
		key, ok := parseConnName(name)
		if ok {
			s.conns[key], ok = parseConn(section(m, name))
		}
		if !ok {
			delete(s.conns, key)
			s.strays = append(s.strays, name)
			s.loaded[name] = true
		}
	}
}

func parseConn(m *vici.Message) (conn, bool) {
	children := section(m, "children")
	if len(children.Keys()) != 1 {
		return conn{}, false
	}
	name := children.Keys()[0]
	child, ok := parseChildName(name)
	if !ok {
		return conn{}, false
	}
	remote := texts(section(children, name), "remote-ts")
	if len(remote) != 1 {
		return conn{}, false
	}
	c := conn{child: child}
	var err error
	if c.prefix, err = netip.ParsePrefix(remote[0]); err != nil {
		return conn{}, false
	}
	c.keepalive = time.Duration(number(m, "dpd_delay")) * time.Second
	if addrs := texts(m, "remote_addrs"); child.port != 0 && len(addrs) > 0 {
		addr, err := netip.ParseAddr(addrs[0])
		if err != nil {
			return conn{}, false
		}
		c.endpoint = netip.AddrPortFrom(addr, child.port)
	}
	return c, true
}

// unnamed is an IKE SA whose peer has not said yet who it is.
const unnamed = "(unnamed)"

// addSAs takes one message of list-sas.
func (s *snapshot) addSAs(m *vici.Message) {
	for _, name := range m.Keys() {
		if name == unnamed {
			continue
		}
		key, ok := parseConnName(name)
		if !ok {
			s.strays = append(s.strays, name)
			continue
		}
		s.sas[key] = append(s.sas[key], parseSA(section(m, name), s.at))
	}
}

func parseSA(m *vici.Message, now time.Time) ikeSA {
	sa := ikeSA{id: uint32(number(m, "uniqueid")), state: text(m, "state"), behindNAT: text(m, "nat-local") == "yes"}
	if addr, err := netip.ParseAddr(text(m, "remote-host")); err == nil {
		sa.remote = netip.AddrPortFrom(addr.Unmap().WithZone(""), uint16(number(m, "remote-port")))
	}
	if age := text(m, "established"); age != "" {
		sa.established = now.Add(-time.Duration(number(m, "established")) * time.Second)
	}
	children := section(m, "child-sas")
	for _, name := range children.Keys() {
		sa.children = append(sa.children, parseChild(section(children, name), now))
	}
	return sa
}

func parseChild(m *vici.Message, now time.Time) childSA {
	c := childSA{
		id:        uint32(number(m, "uniqueid")),
		state:     text(m, "state"),
		reqID:     uint32(number(m, "reqid")),
		spiIn:     spi(m, "spi-in"),
		spiOut:    spi(m, "spi-out"),
		rx:        number(m, "bytes-in"),
		tx:        number(m, "bytes-out"),
		installed: now.Add(-time.Duration(number(m, "install-time")) * time.Second),
	}
	c.cipher = strings.ToLower(text(m, "encr-alg"))
	if size := text(m, "encr-keysize"); size != "" {
		c.cipher += "-" + size
	}
	return c
}

// number is 0 for what is no number.
func number(m *vici.Message, key string) uint64 {
	n, err := strconv.ParseUint(text(m, key), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func spi(m *vici.Message, key string) uint32 {
	n, err := strconv.ParseUint(text(m, key), 16, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
