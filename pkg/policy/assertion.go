package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// MaxAssertions is how many assertions may be kept with a VPC.
const MaxAssertions = 256

// Assertion is a sentence about what can reach what in a VPC, which its rules
// must keep true.
type Assertion struct {
	Subject Party
	// Cannot turns "reaches" into "cannot reach".
	Cannot  bool
	Object  Party
	Service Service
}

// PartyKind says how an assertion names one side.
type PartyKind uint8

// The kinds of parties.
const (
	PartyAnybody PartyKind = iota
	PartyEndpoint
	PartyGroup
	PartyCIDR
)

// Party is one side of an assertion.
type Party struct {
	Kind PartyKind
	// Name is that of the endpoint or group.
	Name string
	// CIDR is masked; an address is one of full length.
	CIDR netip.Prefix
}

// Service is what an assertion says of, beside the parties.
type Service struct {
	// Protocol is ProtocolAny for every protocol and port.
	Protocol Protocol
	// Ports are as in a rule: none means all of them.
	Ports []PortRange
	// ICMP is as in a rule.
	ICMP ICMP
}

const (
	wordAnybody = "anybody"
	wordNobody  = "nobody"
	reaches     = " reaches "
	cannotReach = " cannot reach "
)

// ParseAssertion reads "SUBJECT reaches OBJECT:SERVICE" or "SUBJECT cannot reach
// OBJECT:SERVICE". A party is an endpoint's name, group:NAME, an address, a CIDR,
// or anybody; IPv6 before a service is in brackets, as in [fd00::1]:80. "nobody
// reaches" means "anybody cannot reach". A service is ports of TCP as in
// 80,8000-8100, or a protocol and what it has as in udp/53, sctp/80, icmp/8,
// icmpv6, tcp, or any.
func ParseAssertion(s string) (Assertion, error) {
	a, err := parseAssertion(s)
	if err != nil {
		return Assertion{}, fmt.Errorf("parse assertion %q: %w", s, err)
	}
	return a, nil
}

// String is the twin of [ParseAssertion].
func (a Assertion) String() string {
	subject, verb := a.Subject.String(), reaches
	switch {
	case a.Cannot && a.Subject.Kind == PartyAnybody:
		subject = wordNobody
	case a.Cannot:
		verb = cannotReach
	}
	object := a.Object.String()
	if a.Object.Kind == PartyCIDR && a.Object.CIDR.Addr().Is6() {
		object = "[" + object + "]"
	}
	return subject + verb + object + ":" + a.Service.String()
}

func parseAssertion(s string) (Assertion, error) {
	var a Assertion
	s = strings.Join(strings.Fields(s), " ")
	subject, rest, ok := strings.Cut(s, cannotReach)
	if a.Cannot = ok; !ok {
		if subject, rest, ok = strings.Cut(s, reaches); !ok {
			return Assertion{}, errors.New("write SUBJECT reaches OBJECT:SERVICE or SUBJECT cannot reach OBJECT:SERVICE, as in web-1 reaches db-1:5432")
		}
	}
	if subject == wordNobody {
		if a.Cannot {
			return Assertion{}, errors.New("nobody and cannot are one too many: write nobody reaches or anybody reaches")
		}
		subject, a.Cannot = wordAnybody, true
	}
	object, service, err := cutService(rest)
	if err != nil {
		return Assertion{}, err
	}
	if a.Subject, err = parseParty(subject); err != nil {
		return Assertion{}, fmt.Errorf("subject: %w", err)
	}
	if a.Object, err = parseParty(object); err != nil {
		return Assertion{}, fmt.Errorf("object: %w", err)
	}
	if a.Service, err = parseService(service); err != nil {
		return Assertion{}, fmt.Errorf("service %.40q: %w", service, err)
	}
	return a, nil
}

// cutService cuts "OBJECT:SERVICE" in two. Only brackets and group: have colons
// in an object.
func cutService(s string) (object, service string, err error) {
	ok := false
	if name, isGroup := strings.CutPrefix(s, groupPrefix); isGroup {
		object, service, ok = strings.Cut(name, ":")
		object = groupPrefix + object
	} else if inside, isBracket := strings.CutPrefix(s, "["); isBracket {
		if !strings.Contains(inside, "]") {
			return "", "", fmt.Errorf("object %q: the bracket is not closed: write [ADDRESS]:SERVICE", s)
		}
		object, service, ok = strings.Cut(inside, "]:")
		object = "[" + object + "]"
	} else {
		if bracketed := inBrackets(s); bracketed != "" {
			return "", "", fmt.Errorf("object %q: IPv6 is in brackets there: write %s", s, bracketed)
		}
		object, service, ok = strings.Cut(s, ":")
	}
	if !ok || service == "" {
		return "", "", fmt.Errorf("object %q has no service: write OBJECT:PORT, OBJECT:udp/PORT, OBJECT:icmp or OBJECT:any", s)
	}
	return object, service, nil
}

// inBrackets is an object that begins with an IPv6 address or CIDR as it has to
// be written, or empty if it does not.
func inBrackets(s string) string {
	is6 := func(s string) bool {
		cidr, ok := parseCIDR(s)
		return ok && cidr.Addr().Is6()
	}
	// "fd00::1:80" is an address too, but somebody meant a port.
	if i := strings.LastIndexByte(s, ':'); i > 0 && is6(s[:i]) {
		return "[" + s[:i] + "]" + s[i:]
	}
	if is6(s) {
		return "[" + s + "]:SERVICE"
	}
	return ""
}

func parseParty(s string) (Party, error) {
	if inside, ok := strings.CutPrefix(s, "["); ok {
		inside, ok = strings.CutSuffix(inside, "]")
		cidr, isCIDR := parseCIDR(inside)
		if !ok || !isCIDR || !cidr.Addr().Is6() {
			return Party{}, fmt.Errorf("%q is no IPv6 address or CIDR in brackets: write [fd00::1], [fd00::/64], or IPv4 without brackets", s)
		}
		return Party{Kind: PartyCIDR, CIDR: cidr}, validateCIDR(cidr)
	}
	if s == wordAnybody {
		return Party{Kind: PartyAnybody}, nil
	}
	switch s {
	case wordNobody:
		return Party{}, errors.New("nobody is possible as subject only: write anybody, and nobody or cannot before it")
	case "any":
		return Party{}, errors.New("any is a word of rules: write anybody")
	}
	if name, ok := strings.CutPrefix(s, groupPrefix); ok {
		return Party{Kind: PartyGroup, Name: name}, ValidateName(name)
	}
	if cidr, ok := parseCIDR(s); ok {
		return Party{Kind: PartyCIDR, CIDR: cidr}, validateCIDR(cidr)
	}
	if strings.ContainsAny(s, "./:") {
		return Party{}, fmt.Errorf("%q is no address or CIDR: write 10.0.0.7, 10.0.0.0/24, an endpoint's name, group:NAME or anybody", s)
	}
	return Party{Kind: PartyEndpoint, Name: s}, ValidateName(s)
}

// String is the party as [ParseAssertion] reads it.
func (p Party) String() string {
	switch p.Kind {
	case PartyAnybody:
		return wordAnybody
	case PartyEndpoint:
		return p.Name
	case PartyGroup:
		return groupPrefix + p.Name
	case PartyCIDR:
		if p.CIDR.IsSingleIP() {
			return p.CIDR.Addr().String()
		}
		return p.CIDR.String()
	default:
		return fmt.Sprintf("Party(%d)", uint8(p.Kind))
	}
}

func parseService(s string) (Service, error) {
	word, detail, hasDetail := strings.Cut(s, "/")
	protocol, err := ParseProtocol(word)
	switch {
	case err != nil && hasDetail:
		return Service{}, err
	case err != nil && (word[0] < '0' || word[0] > '9'):
		return Service{}, errors.New("neither ports nor a protocol: write 80,8000-8100, udp/53, icmp, icmp/8 or any")
	case err != nil:
		protocol, detail = ProtocolTCP, s
	case !hasDetail:
		return Service{Protocol: protocol}, nil
	case detail == "":
		return Service{}, fmt.Errorf("nothing is behind the slash: write %s without it for all of it", word)
	case protocol == ProtocolAny:
		return Service{}, errors.New("any has no ports: write any, or tcp, udp or sctp with ports")
	}
	made := Service{Protocol: protocol}
	if protocol == ProtocolICMP || protocol == ProtocolICMPv6 {
		made.ICMP, err = parseICMP(detail)
	} else {
		made.Ports, err = parsePorts(detail)
	}
	return made, err
}

// String is the service as [ParseAssertion] reads it.
func (s Service) String() string {
	detail := s.ICMP.String()
	if len(s.Ports) > 0 {
		detail = FormatPorts(s.Ports)
		if s.Protocol == ProtocolTCP {
			return detail
		}
	}
	if detail == "" {
		return s.Protocol.String()
	}
	return s.Protocol.String() + "/" + detail
}
