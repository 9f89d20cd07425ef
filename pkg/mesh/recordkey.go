package mesh

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits of a record.
const (
	// MaxPayload is the most that a record's payload may have, in bytes.
	MaxPayload = 1 << 20
	// MaxKey is the most that a record's key may have, in bytes.
	MaxKey = 256
	// MaxAnnouncement is the most that an announcement may have, in bytes.
	MaxAnnouncement = 1 << 10
	// maxOwned and maxOwnedBytes bound what one node may say of its own, the
	// tombstones of a day included, so that none fills the memory of the others.
	maxOwned      = 32 << 10
	maxOwnedBytes = 16 << 20
	// maxName is the most that a name within a key may have.
	maxName = 128
	// maxVNI is the highest network identifier.
	maxVNI = 1<<24 - 1
)

// kinds lists all kinds, in the order in which they are exchanged: what is
// needed to verify the others comes first, and grants before the endpoints that need
// them and before what asks for them.
var kinds = [...]Kind{
	KindNode, KindEviction, KindGossipKey, KindVPC, KindGroup, KindGrant, KindEndpoint, KindTests, KindShadow, KindTunnels,
	KindSettings,
}

// known tells whether k is a kind of record.
func (k Kind) known() bool {
	switch k {
	case KindNode, KindEviction, KindGossipKey, KindVPC, KindGroup, KindGrant, KindEndpoint, KindTests, KindShadow, KindTunnels,
		KindSettings:
		return true
	default:
		return false
	}
}

// checkKey tells whether key has the form of its kind.
func checkKey(kind Kind, key string) error {
	if len(key) > MaxKey {
		return fmt.Errorf("check record key: longer than %d bytes", MaxKey)
	}
	parts := strings.Split(key, "/")
	ok := false
	switch kind {
	case KindNode:
		ok = NodeID(key).Valid()
	case KindVPC:
		ok = validPart(key)
	case KindGroup:
		ok = len(parts) == 2 && validVNI(parts[0]) && validPart(parts[1])
	case KindTests, KindShadow:
		ok = validVNI(key)
	case KindTunnels:
		ok = key == PolicyKey
	case KindSettings:
		ok = key == SettingsKey
	case KindEviction:
		ok = NodeID(strings.TrimSuffix(key, evictionByMesh)).Valid()
	case KindGossipKey:
		ok = key == GossipKeyKey
	case KindEndpoint, KindGrant:
		ok = len(parts) == 3 && NodeID(parts[0]).Valid() && validVNI(parts[1]) && validPart(parts[2])
	}
	if !ok {
		return fmt.Errorf("check record key: %q is not the key of a record of kind %q", key, kind)
	}
	return nil
}

// validPart tells whether s can be a name within a key.
func validPart(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '/' {
			return false
		}
	}
	return true
}

// validVNI tells whether s is a network identifier in its one decimal form.
func validVNI(s string) bool {
	n, err := strconv.ParseUint(s, 10, 24)
	return err == nil && n > 0 && n <= maxVNI && strconv.FormatUint(n, 10) == s
}

// owner returns the node that alone may sign the record, or "" if any authority
// may. The key is known to be valid.
func owner(kind Kind, key string) NodeID {
	switch kind {
	case KindNode:
		return NodeID(key)
	case KindEndpoint:
		return NodeID(key[:idDigits])
	case KindVPC, KindGroup, KindTests, KindShadow, KindTunnels, KindGrant, KindSettings, KindEviction, KindGossipKey:
		return ""
	default:
		return ""
	}
}
