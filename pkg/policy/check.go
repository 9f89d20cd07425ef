package policy

import (
	"fmt"
	"net/netip"
	"slices"
)

// Outcome is what becomes of an assertion.
type Outcome uint8

// The outcomes. An assertion that something reaches something is undecided if
// there is no pair of addresses that it speaks of; that it cannot, then holds.
const (
	Holds Outcome = iota + 1
	Broken
	Undecided
)

// String is the outcome in a word.
func (o Outcome) String() string {
	switch o {
	case Holds:
		return "holds"
	case Broken:
		return "broken"
	case Undecided:
		return "undecided"
	default:
		return fmt.Sprintf("Outcome(%d)", uint8(o))
	}
}

// CheckResult is an assertion and what becomes of it.
type CheckResult struct {
	Assertion Assertion
	Outcome   Outcome
	// Why says it in words; it is empty for one that holds.
	Why string
	// Flow is the first counter-example, and Source and Destination are its
	// endpoints; Explanation says which rules decide on it. They are set for
	// Broken only.
	Flow                Flow
	Source, Destination string
	Explanation         Explanation
}

// Check asks whether the assertions hold with the VPC's groups. It costs
// compiling the tables of all hosts, and for each assertion the pairs of what
// its parties have of classes of addresses (those that no rule tells apart),
// times the intervals of their rows, up to the first counter-example. There are
// at most as many classes as hosts, and as a rule not many more than groups.
func (v VPC) Check(assertions []Assertion) ([]CheckResult, error) {
	v.Shadow = nil
	e, err := v.findEnds()
	if err != nil {
		return nil, fmt.Errorf("check assertions: %w", err)
	}
	results := make([]CheckResult, len(assertions))
	for i, a := range assertions {
		results[i] = e.check(a)
	}
	return results, nil
}

func (e *ends) check(a Assertion) CheckResult {
	c := &checker{ends: e, result: CheckResult{Assertion: a, Outcome: Holds}, spans: a.Service.spans()}
	sources, destinations := e.classesOf(a.Subject), e.classesOf(a.Object)
	for _, s := range sources {
		for _, d := range destinations {
			source, destination := pickPair(s, d)
			if source != nil && source.identity.Rest() == destination.identity.Rest() && !c.checkPair(source, destination) {
				return c.result
			}
		}
	}
	if !c.met && !a.Cannot {
		c.result.Outcome = Undecided
		c.result.Why = fmt.Sprintf("there is no flow from %s to %s in this VPC that it speaks of", a.Subject, a.Object)
	}
	return c.result
}

// classesOf are the ends that a party means, class by class.
func (e *ends) classesOf(p Party) [][]*end {
	members := make([][]*end, len(e.classes))
	for i := range e.all {
		if of := &e.all[i]; e.means(p, of) {
			members[of.class] = append(members[of.class], of)
		}
	}
	return slices.DeleteFunc(members, func(m []*end) bool { return len(m) == 0 })
}

// means tells whether a party has addresses of an end.
func (e *ends) means(p Party, of *end) bool {
	switch p.Kind {
	case PartyAnybody:
		return true
	case PartyEndpoint:
		return of.host.Name == p.Name
	case PartyGroup:
		return slices.Contains(of.host.Groups, p.Name)
	case PartyCIDR:
		if !p.CIDR.Overlaps(of.part) {
			return false
		}
		_, some := e.sample(of, p.CIDR)
		return some
	default:
		return false
	}
}

// checker looks for what contradicts an assertion.
type checker struct {
	*ends
	result CheckResult
	// met is true if there is a flow that the assertion speaks of.
	met bool
	// spans are the ports of each protocol that the service means.
	spans map[uint8][]Interval
}

// checkPair looks at all flows of the service from one class to another. It is
// false if one contradicts.
func (c *checker) checkPair(source, destination *end) bool {
	for _, protocol := range protocolsOf(source.identity.Rest()) {
		for _, span := range c.spans[protocol] {
			c.met = true
			if port, found := c.contradiction(source, destination, protocol, span); found {
				c.fail(source, destination, protocol, port)
				return false
			}
		}
	}
	return true
}

// spans are the ports, for each value of Match.Protocol, that a service means.
func (s Service) spans() map[uint8][]Interval {
	spans := make(map[uint8][]Interval)
	for _, protocol := range matchProtocols {
		switch {
		case !s.Protocol.matches(protocol):
		case protocol == protoOther:
			spans[protocol] = []Interval{{}} // they have no ports
		default:
			spans[protocol] = appendSpans(nil, &Rule{Ports: s.Ports, ICMP: s.ICMP}, 0)
		}
	}
	return spans
}

// contradiction is the first port that is allowed and must not be, or is not
// and must be.
func (c *checker) contradiction(source, destination *end, protocol uint8, span Interval) (port uint16, found bool) {
	egress, ingress := c.rowsOf(live, source.class, destination.class, protocol)
	sweep([][]Interval{egress, ingress}, span.First, span.Last, func(first, _ uint16, at [sweptRows]int) bool {
		allowed := allows(egress, at[0]) && allows(ingress, at[1])
		port, found = first, allowed == c.result.Assertion.Cannot
		return !found
	})
	return port, found
}

func (c *checker) fail(source, destination *end, protocol uint8, port uint16) {
	r := &c.result
	from, _ := c.sample(source, r.Assertion.Subject.around(source.part))
	to, _ := c.sample(destination, r.Assertion.Object.around(destination.part))
	r.Outcome = Broken
	r.Source, r.Destination = source.endpoint(), destination.endpoint()
	r.Flow = Flow{Source: from, Destination: to, Protocol: protocol, Port: port}
	r.Explanation = c.vpc.Explain(r.Flow)
	r.Why = fmt.Sprintf("%s (%s to %s) is %s", r.Flow, r.Source, r.Destination, r.Explanation)
}

// around is where a party looks for the addresses of a part.
func (p Party) around(part netip.Prefix) netip.Prefix {
	if p.Kind == PartyCIDR {
		return p.CIDR
	}
	return part
}
