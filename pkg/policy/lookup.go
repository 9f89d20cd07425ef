package policy

import "sort"

// MatchProtocol is the value of Match.Protocol for an IP protocol number.
func MatchProtocol(number uint8) uint8 {
	switch number {
	case protoICMP, protoTCP, protoUDP, protoICMPv6, protoSCTP:
		return number
	default:
		return protoOther
	}
}

// ICMPPort is what stands for a port in ICMP and ICMPv6: type and code in one number.
func ICMPPort(icmpType, code uint8) uint16 { return uint16(icmpType)<<8 | uint16(code) }

// Lookup finds the rule that permits a port, as the datapath does: by binary
// search. ok is false if none does.
func (t *Table) Lookup(m Match, port uint16) (rule RuleRef, ok bool) {
	intervals := t.Verdicts[m]
	i := sort.Search(len(intervals), func(i int) bool { return intervals[i].Last >= port })
	if i == len(intervals) || intervals[i].First > port {
		return RuleRef{}, false
	}
	return t.Rules[intervals[i].Rule], true
}
