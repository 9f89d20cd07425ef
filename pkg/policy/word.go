package policy

import "fmt"

// IP protocol numbers, as in Match.Protocol.
const (
	protoOther  = 0
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
)

// directions are both, in the order in which they are told.
var directions = [...]Direction{Ingress, Egress}

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

// ParseAction reads "allow" or "deny". Nothing means allow.
func ParseAction(s string) (Action, error) {
	switch s {
	case "allow", "":
		return Allow, nil
	case "deny":
		return Deny, nil
	default:
		return 0, fmt.Errorf("parse action %q: write allow or deny", s)
	}
}

// String is the twin of [ParseAction].
func (a Action) String() string {
	switch a {
	case Allow:
		return "allow"
	case Deny:
		return "deny"
	default:
		return fmt.Sprintf("Action(%d)", uint8(a))
	}
}

// protocols are the words for protocols, in the order in which they are told.
var protocols = []struct {
	word     string
	protocol Protocol
}{
	{"tcp", ProtocolTCP},
	{"udp", ProtocolUDP},
	{"sctp", ProtocolSCTP},
	{"icmp", ProtocolICMP},
	{"icmpv6", ProtocolICMPv6},
	{"any", ProtocolAny},
}

// ParseProtocol reads "tcp", "udp", "sctp", "icmp", "icmpv6" or "any".
func ParseProtocol(s string) (Protocol, error) {
	for _, p := range protocols {
		if p.word == s {
			return p.protocol, nil
		}
	}
	return 0, fmt.Errorf("parse protocol %q: write tcp, udp, sctp, icmp, icmpv6 or any", s)
}

// String is the twin of [ParseProtocol].
func (p Protocol) String() string {
	for _, known := range protocols {
		if known.protocol == p {
			return known.word
		}
	}
	return fmt.Sprintf("Protocol(%d)", uint8(p))
}

// matches tells whether a rule of protocol p is for a value of Match.Protocol.
func (p Protocol) matches(match uint8) bool {
	switch p {
	case ProtocolAny:
		return true
	case ProtocolTCP:
		return match == protoTCP
	case ProtocolUDP:
		return match == protoUDP
	case ProtocolSCTP:
		return match == protoSCTP
	case ProtocolICMP:
		return match == protoICMP
	case ProtocolICMPv6:
		return match == protoICMPv6
	default:
		return false
	}
}
