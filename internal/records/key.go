package records

import (
	"fmt"
	"strconv"
	"strings"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// MaxVNI is the largest 24-bit network identifier; 0 is not used.
const MaxVNI = 1<<24 - 1

// DefaultGroup is the group that every VPC has, also without a record of it,
// and that endpoints without groups carry.
const DefaultGroup = policy.DefaultGroup

// GroupKey is the key of a group record.
func GroupKey(vni uint32, name string) string {
	return strconv.FormatUint(uint64(vni), 10) + "/" + name
}

// EndpointKey is the key of an endpoint record, and of the grant for it.
func EndpointKey(node mesh.NodeID, vni uint32, name string) string {
	return string(node) + "/" + GroupKey(vni, name)
}

// SplitGroupKey takes the key of a group record apart.
func SplitGroupKey(key string) (vni uint32, name string, err error) {
	number, name, found := strings.Cut(key, "/")
	if !found {
		return 0, "", fmt.Errorf("key %q: want VNI/name", key)
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n == 0 || n > MaxVNI || strconv.FormatUint(n, 10) != number {
		return 0, "", fmt.Errorf("key %q: VNI %q: want 1 to %d", key, number, MaxVNI)
	}
	if err := policy.ValidateName(name); err != nil {
		return 0, "", fmt.Errorf("key %q: %w", key, err)
	}
	return uint32(n), name, nil
}

// SplitEndpointKey takes the key of an endpoint record, or of a grant, apart.
func SplitEndpointKey(key string) (node mesh.NodeID, vni uint32, name string, err error) {
	id, rest, found := strings.Cut(key, "/")
	if !found {
		return "", 0, "", fmt.Errorf("key %q: want node/VNI/name", key)
	}
	vni, name, err = SplitGroupKey(rest)
	return mesh.NodeID(id), vni, name, err
}
