package policy

import "fmt"

// IP protocol numbers, as in Match.Protocol.
const (
	protoOther = 0
	protoICMP  = 1
	protoTCP   = 6
	protoUDP   = 17
)

// ParseDirection reads "ingress" or "egress".
func ParseDirection(s string) (Direction, error) {
	switch s {
	case "ingress":
		return Ingress, nil
	case "egress":
		return Egress, nil
	default:
		return 0, fmt.Errorf("parse direction %q: write ingress or egress", s)
	}
}

// String is the twin of [ParseDirection].
func (d Direction) String() string {
	switch d {
	case Ingress:
		return "ingress"
	case Egress:
		return "egress"
	default:
		return fmt.Sprintf("Direction(%d)", uint8(d))
	}
}

// ParseProtocol reads "tcp", "udp", "icmp" or "any".
func ParseProtocol(s string) (Protocol, error) {
	switch s {
	case "any":
		return ProtocolAny, nil
	case "tcp":
		return ProtocolTCP, nil
	case "udp":
		return ProtocolUDP, nil
	case "icmp":
		return ProtocolICMP, nil
	default:
		return 0, fmt.Errorf("parse protocol %q: write tcp, udp, icmp or any", s)
	}
}

// String is the twin of [ParseProtocol].
func (p Protocol) String() string {
	switch p {
	case ProtocolAny:
		return "any"
	case ProtocolTCP:
		return "tcp"
	case ProtocolUDP:
		return "udp"
	case ProtocolICMP:
		return "icmp"
	default:
		return fmt.Sprintf("Protocol(%d)", uint8(p))
	}
}

// matches are the values of Match.Protocol that a rule of protocol p permits.
func (p Protocol) matches() []uint8 {
	switch p {
	case ProtocolAny:
		return []uint8{protoOther, protoICMP, protoTCP, protoUDP}
	case ProtocolTCP:
		return []uint8{protoTCP}
	case ProtocolUDP:
		return []uint8{protoUDP}
	case ProtocolICMP:
		return []uint8{protoICMP}
	default:
		return nil
	}
}
