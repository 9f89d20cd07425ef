package policy

// Identity is what the rules of a VPC call a remote address: the groups named
// by rules that it carries, and the smallest CIDR of rules that it falls in.
// Addresses with the same identity get the same verdicts. The low bit is 1 for
// IPv6. 0 and 1 are no identities.
type Identity uint64

// Rest4 and Rest6 stand in a [Match] for every identity of a family that a table
// has no row of.
const (
	Rest4 Identity = 0
	Rest6 Identity = 1
)

// Rest is [Rest4] or [Rest6].
func (i Identity) Rest() Identity { return i & 1 }

// ID names a verdict table. It follows from the VPC, the direction and the names
// of the groups that have rules for it, not from what the rules say: a changed
// rule changes rows of the same table. 0 is no table: it drops everything.
type ID uint64

// Interval is a verdict on the ports First to Last. For ICMP and ICMPv6 a port
// is type<<8 | code.
type Interval struct {
	First, Last uint16
	// Rule is the index in Table.Rules of the rule that decides.
	Rule uint32
	// Action is what that rule does.
	Action Action
}

// Match is what a verdict is looked up by, besides the port.
type Match struct {
	Identity Identity
	// Protocol is the IP protocol number 1, 6, 17, 58 or 132, or 0 for every
	// other.
	Protocol uint8
}

// Table has the verdicts of one direction of the groups of an endpoint.
type Table struct {
	// Verdicts has the rows: sorted, disjoint intervals for each match, never
	// none. An identity that has no row for a protocol gets that of its Rest. If
	// there is a row, it is all that counts; what is in none of its intervals is
	// dropped, and so is what there is no row for.
	Verdicts map[Match][]Interval
	// Rules names the rules that intervals refer to. The first is the default.
	// There may be rules that no interval refers to, and rules that are gone.
	Rules []RuleRef
}

// RuleRef names a rule for people.
type RuleRef struct {
	// Group is empty for the default: egress goes out until a rule allows some
	// of it, everything else is dropped.
	Group string
	ID    string
}
