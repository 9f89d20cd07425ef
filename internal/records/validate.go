package records

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// Bounds of what one record may hold.
const (
	MaxCIDRs  = 16
	MaxGroups = 32
	// MaxAddresses and MaxPrefixes are what one endpoint may have, MaxAnnounced
	// what it may have announced.
	MaxAddresses = 32
	MaxPrefixes  = 32
	MaxAnnounced = 256
	// MaxRules and MaxVPCGroups are what a VPC may have in all its groups.
	MaxRules     = policy.MaxRules
	MaxVPCGroups = policy.MaxGroups
	// maxEndpoint bounds the payload of an endpoint, in bytes: more than all that it
	// may have takes. Every node may write such, and the empty parts of a message
	// take fifty times their size to decode.
	maxEndpoint = 64 << 10
	// maxText bounds paths, device names and messages, in bytes.
	maxText = 512
	// maxInterfaceName is IFNAMSIZ less the terminating zero.
	maxInterfaceName = 15
)

// Validate checks the key and the payload of a record that is not a
// tombstone. Its error says what is wrong.
func Validate(r mesh.Record) error {
	if r.Deleted {
		return nil
	}
	switch r.Kind {
	case mesh.KindVPC:
		return validateVPC(r)
	case mesh.KindGroup:
		return validateGroup(r)
	case mesh.KindEndpoint:
		return validateEndpoint(r)
	case mesh.KindTests:
		return validateTests(r)
	case mesh.KindShadow:
		return validateShadow(r)
	case mesh.KindTunnels:
		return validateTunnels(r)
	case mesh.KindGrant:
		return validateGrant(r)
	case mesh.KindSettings:
		return validateSettings(r)
	case mesh.KindNode:
		return nil
	default:
		return fmt.Errorf("record kind %q: not known", r.Kind)
	}
}

func validateVPC(r mesh.Record) error {
	if err := policy.ValidateName(r.Key); err != nil {
		return fmt.Errorf("vpc: %w", err)
	}
	v, err := decodeNew(r.Payload, &VPC{})
	if err != nil {
		return fmt.Errorf("vpc %s: %w", r.Key, err)
	}
	if v.GetVni() == 0 || v.GetVni() > MaxVNI {
		return fmt.Errorf("vpc %s: VNI %d: want 1 to %d", r.Key, v.GetVni(), MaxVNI)
	}
	if _, err := ParseCIDRs(v.GetCidrs()); err != nil {
		return fmt.Errorf("vpc %s: %w", r.Key, err)
	}
	return nil
}

func validateGroup(r mesh.Record) error {
	_, name, err := SplitGroupKey(r.Key)
	if err != nil {
		return fmt.Errorf("group: %w", err)
	}
	g, err := decodeNew(r.Payload, &Group{})
	if err != nil {
		return fmt.Errorf("group %s: %w", r.Key, err)
	}
	rules, err := g.PolicyRules()
	if err != nil {
		return fmt.Errorf("group %s: %w", r.Key, err)
	}
	if b := g.GetBatch(); b != nil && (b.GetId() == 0 || b.GetSize() < 2 || b.GetSize() > MaxVPCGroups) {
		return fmt.Errorf("group %s: batch %d of %d records: want 2 to %d", r.Key, b.GetId(), b.GetSize(), MaxVPCGroups)
	}
	// One that says the same twice could not be compiled.
	return policy.Group{Name: name, Rules: rules}.Validate()
}

// CheckInterfaceName refuses what Linux refuses as the name of an interface
// (dev_valid_name in net/core/dev.c).
func CheckInterfaceName(name string) error {
	if name == "" || len(name) > maxInterfaceName || name == "." || name == ".." {
		return fmt.Errorf("interface name %q: want 1 to %d characters", name, maxInterfaceName)
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c == '/' || c == ':' || c >= 0x7f {
			return fmt.Errorf("interface name %q: has a space, '/', ':' or a character that is not ASCII", name)
		}
	}
	return nil
}

// ParseMAC parses a unicast Ethernet address.
func ParseMAC(s string) (net.HardwareAddr, error) {
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 {
		return nil, fmt.Errorf("mac %q: want an Ethernet address such as 02:00:00:00:00:01", s)
	}
	if mac[0]&1 != 0 {
		return nil, fmt.Errorf("mac %q: is a group address; want a unicast one", s)
	}
	if (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) == 0 {
		return nil, fmt.Errorf("mac %q: is zero", s)
	}
	if bytes.Equal(mac, gatewayMAC) {
		return nil, fmt.Errorf("mac %q: is the gateway's; want another", s)
	}
	return mac, nil
}

// gatewayMAC is what the datapath answers ARP requests with.
var gatewayMAC = net.HardwareAddr{0x02, 0x65, 0x6e, 0x00, 0x00, 0x01}

// decodeNew decodes the payload of a record that comes from another node, or is
// about to be signed. It accepts only the one form that is made here, to the last
// field of the innermost message: a rule that says more than is known here could
// mean the opposite.
func decodeNew[M proto.Message](payload []byte, m M) (M, error) {
	// What is unknown is dropped, and so missing from what is made again.
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(payload, m); err != nil {
		return m, fmt.Errorf("decode payload: %w", err)
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return m, fmt.Errorf("decode payload: %w", err)
	}
	if !bytes.Equal(payload, again) {
		return m, errors.New("decode payload: has fields that this version does not know, or is not in canonical form")
	}
	return m, nil
}

// decode decodes what has passed decodeNew, perhaps in a newer version.
func decode[M proto.Message](payload []byte, m M) (M, error) {
	if err := proto.Unmarshal(payload, m); err != nil {
		return m, fmt.Errorf("decode payload: %w", err)
	}
	if len(m.ProtoReflect().GetUnknown()) > 0 {
		return m, errors.New("decode payload: has fields that this version does not know")
	}
	return m, nil
}
