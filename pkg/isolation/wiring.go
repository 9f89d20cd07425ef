package isolation

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
)

// gatewayMAC answers for every address of a VPC but an endpoint's own.
var gatewayMAC = net.HardwareAddr{0x02, 0x65, 0x6e, 0x00, 0x00, 0x01}

// aliasPrefix marks the devices that were made for endpoints.
const aliasPrefix = "edgenet:endpoint:"

// maxName is the length of an endpoint's name in the kernel, less its end.
const maxName = 127

// The MTUs of an interface with IPv4 (RFC 791) and IPv6 (RFC 8200).
const (
	minMTU4 = 68
	minMTU6 = 1280
	maxMTU  = 65535
)

// wired is an endpoint's device on the host, ready to be brought up.
type wired struct {
	ifindex  uint32
	name     string
	mac      net.HardwareAddr // nil if it is to be learned
	delivery edgenetDelivery
	up       bool
	checked  bool   // it was seen to be as it was when it was right
	inode    uint64 // of the container's namespace
}

// hostDevice is the name of the host's device of an endpoint.
func hostDevice(e *Endpoint) string {
	if e.Kind == KindNetns {
		return vethName(e.Key)
	}
	return e.Device
}

// vethName is the host's end of an endpoint's veth: 13 characters.
func vethName(key Key) string {
	sum := hashKey(key)
	return "env" + hex.EncodeToString(sum[:5])
}

// isVethName says whether a device may have been named by vethName.
func isVethName(name string) bool {
	rest, ok := strings.CutPrefix(name, "env")
	if !ok || len(rest) != 10 {
		return false
	}
	_, err := hex.DecodeString(rest)
	return err == nil
}

// givenMAC is the address of a container's interface for which none is wanted:
// the same whenever the endpoint is made again.
func givenMAC(key Key) net.HardwareAddr {
	sum := hashKey(key)
	return net.HardwareAddr{0x0a, sum[5], sum[6], sum[7], sum[8], sum[9]}
}

func hashKey(key Key) [sha256.Size]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint32([]byte(key.Name), key.VNI))
}

func alias(key Key) string { return fmt.Sprintf("%s%d/%s", aliasPrefix, key.VNI, key.Name) }

// check refuses what no datapath could do.
func (e *Endpoint) check() error {
	switch {
	case e.Name == "" || len(e.Name) > maxName:
		return fmt.Errorf("name has %d bytes, not 1 to %d", len(e.Name), maxName)
	case e.VNI == 0 || e.VNI >= 1<<24:
		return fmt.Errorf("VNI %d is not a 24-bit number", e.VNI)
	case len(e.Addresses) == 0:
		return errors.New("has no address")
	case len(e.MAC) != 0 && (len(e.MAC) != 6 || e.MAC[0]&1 != 0):
		return fmt.Errorf("MAC %v is not a unicast address", e.MAC)
	case e.Kind == KindNetns && (e.MTU < e.minMTU() || e.MTU > maxMTU):
		return fmt.Errorf("MTU %d is not %d to %d bytes", e.MTU, e.minMTU(), maxMTU)
	}
	for _, a := range e.Addresses {
		if a.Is4In6() || a.Zone() != "" || !a.IsGlobalUnicast() {
			return fmt.Errorf("address %v is not one that an interface may have", a)
		}
	}
	return nil
}

func (e *Endpoint) minMTU() int {
	if e.first6().IsValid() {
		return minMTU6
	}
	return minMTU4
}

// first4 is the endpoint's first IPv4 address; it is not valid if there is none.
func (e *Endpoint) first4() netip.Addr { return firstOf(e.Addresses, netip.Addr.Is4) }

// first6 is the endpoint's first IPv6 address; it is not valid if there is none.
func (e *Endpoint) first6() netip.Addr { return firstOf(e.Addresses, netip.Addr.Is6) }

// gateway is the VPC's address in the network that an address is in; it is not
// valid if there is none.
func (e *Endpoint) gateway(address netip.Addr) netip.Addr {
	for _, n := range e.Networks {
		if n.Prefix.Contains(address) {
			return n.Gateway
		}
	}
	return netip.Addr{}
}

// muteIPv6 keeps the host from speaking to a tenant: no address, no router
// solicitation, no multicast report.
func (d *Datapath) muteIPv6(link netlink.Link) error {
	const none = 1 // IN6_ADDR_GEN_MODE_NONE
	if err := d.nl.LinkSetIP6AddrGenMode(link, none); err != nil {
		d.log.Debug("IPv6 address generation not turned off", "device", link.Attrs().Name, "err", err)
	}
	return writeIPv6(link.Attrs().Name, "disable_ipv6", "1")
}

// unmuteIPv6 gives a device of the host's the settings of a new one.
func (d *Datapath) unmuteIPv6(link netlink.Link) error {
	const eui64 = 0 // IN6_ADDR_GEN_MODE_EUI64
	if err := d.nl.LinkSetIP6AddrGenMode(link, eui64); err != nil {
		d.log.Debug("IPv6 address generation not turned on", "device", link.Attrs().Name, "err", err)
	}
	standard, err := os.ReadFile("/proc/sys/net/ipv6/conf/default/disable_ipv6")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read IPv6 setting: %w", err)
	}
	return writeIPv6(link.Attrs().Name, "disable_ipv6", strings.TrimSpace(string(standard)))
}

// writeIPv6 writes a setting of a device's IPv6. Where there is no IPv6 there is
// nothing to do, and where /proc is read-only the datapath still lets nothing
// pass that it should not.
func writeIPv6(device, setting, value string) error {
	path := "/proc/sys/net/ipv6/conf/" + device + "/" + setting
	have, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || strings.TrimSpace(string(have)) == value {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	err = os.WriteFile(path, []byte(value), 0)
	if err != nil && !errors.Is(err, os.ErrPermission) && !isReadOnly(err) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
