package daemon

import (
	"fmt"
	"strconv"
)

// Numbers of IP protocols, as IANA gives them.
const (
	ipICMP   = 1
	ipTCP    = 6
	ipUDP    = 17
	ipICMPv6 = 58
	ipSCTP   = 132
)

// protocolNumbers are the protocols that have names here.
var protocolNumbers = map[string]uint8{"icmp": ipICMP, "tcp": ipTCP, "udp": ipUDP, "icmpv6": ipICMPv6, "sctp": ipSCTP}

// formatProtocol is a protocol as the API names it.
func formatProtocol(n uint8) string {
	for name, number := range protocolNumbers {
		if number == n {
			return name
		}
	}
	return strconv.Itoa(int(n))
}

func hasPorts(protocol uint8) bool {
	return protocol == ipTCP || protocol == ipUDP || protocol == ipSCTP
}

func isICMP(protocol uint8) bool { return protocol == ipICMP || protocol == ipICMPv6 }

// formatICMP is type and code, as "8/0", of what policy.ICMPPort made of them.
func formatICMP(port uint16) string { return fmt.Sprintf("%d/%d", port>>8, port&0xff) }
