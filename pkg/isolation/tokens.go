package isolation

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
)

// tokens gives IPv6 addresses the short names by which they stand in the overlay.
// Every node works them out by itself: a hash of VNI and address. Where two
// addresses of a node and VPC have the same, neither has one.
type tokens struct {
	mirror *mirror[edgenetTokenKey, edgenetIp]
	// at is the node of an address.
	at map[edgenetAddressKey]uint64
	// holders are the addresses with a token; nearly always one.
	holders map[edgenetTokenKey][]edgenetAddressKey
	// changed are the tokens whose holders changed since the last commit.
	changed map[edgenetTokenKey]bool
	leaving map[edgenetTokenKey]bool
}

func openTokens(m *mirror[edgenetTokenKey, edgenetIp]) *tokens {
	t := &tokens{
		mirror: m, at: make(map[edgenetAddressKey]uint64),
		holders: make(map[edgenetTokenKey][]edgenetAddressKey),
		changed: make(map[edgenetTokenKey]bool), leaving: make(map[edgenetTokenKey]bool),
	}
	for key := range m.have {
		t.changed[key] = true // whoever had it may be gone
	}
	return t
}

// tokenOf is the first four bytes of the SHA-256 of VNI and address, in network
// order; 0 is no token.
func tokenOf(key *edgenetAddressKey) uint32 {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 20), key.Vni)
	sum := sha256.Sum256(append(b, key.Address.Bytes[:]...))
	return binary.NativeEndian.Uint32(sum[:4])
}

func isIPv6(key *edgenetAddressKey) bool {
	return !netip.AddrFrom16(key.Address.Bytes).Is4In6()
}

// move says at which node an address is, 0 for nowhere.
func (t *tokens) move(key edgenetAddressKey, node uint64) {
	if t.at[key] == node || !isIPv6(&key) {
		return
	}
	token := tokenOf(&key)
	if token == 0 {
		return
	}
	if old := t.at[key]; old != 0 {
		of := edgenetTokenKey{Node: old, Vni: key.Vni, Token: token}
		t.changed[of] = true
		t.holders[of] = without(t.holders[of], key)
		if len(t.holders[of]) == 0 {
			delete(t.holders, of)
		}
		delete(t.at, key)
	}
	if node != 0 {
		of := edgenetTokenKey{Node: node, Vni: key.Vni, Token: token}
		t.changed[of] = true
		t.holders[of] = append(t.holders[of], key)
		t.at[key] = node
	}
}

func without(keys []edgenetAddressKey, key edgenetAddressKey) []edgenetAddressKey {
	var rest []edgenetAddressKey
	for _, k := range keys {
		if k != key {
			rest = append(rest, k)
		}
	}
	return rest
}

// of is the token of an address, 0 if it has none of its own.
func (t *tokens) of(key edgenetAddressKey) uint32 {
	node, ok := t.at[key]
	if !ok {
		return 0
	}
	of := edgenetTokenKey{Node: node, Vni: key.Vni, Token: tokenOf(&key)}
	if len(t.holders[of]) != 1 {
		return 0
	}
	return of.Token
}

// touched are the addresses whose token may be another than it was, because of
// other addresses.
func (t *tokens) touched() []edgenetAddressKey {
	var keys []edgenetAddressKey
	for of := range t.changed {
		keys = append(keys, t.holders[of]...)
	}
	return keys
}

// commit writes the tokens that are new; those that nobody has any more go when
// no packet asks for them.
func (t *tokens) commit() error {
	var errs []error
	for of := range t.changed {
		holders := t.holders[of]
		if len(holders) != 1 {
			if _, ok := t.mirror.have[of]; ok {
				t.leaving[of] = true
			}
			continue
		}
		delete(t.leaving, of)
		errs = append(errs, t.mirror.put(of, holders[0].Address))
	}
	clear(t.changed)
	return errors.Join(errs...)
}

func (t *tokens) collect() error {
	var errs []error
	for of := range t.leaving {
		errs = append(errs, t.mirror.delete(of))
	}
	clear(t.leaving)
	return errors.Join(errs...)
}
