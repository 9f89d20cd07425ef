package isolation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/policy"
)

// What nobody could ask for before is there without a flip, also while packets
// of the change before are still being waited for.
func TestWhatIsOnlyNewNeedsNoFlip(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, allowAll)
	release := b.hold()
	before := b.dp.tables.state.Generation
	const stranger policy.Identity = 8
	b.state.Addresses[Address{testVNI, netip.MustParseAddr("10.0.0.9")}] = Location{Node: nodeB, Identity: stranger}
	table := allowWebTable()
	table.Verdicts[policy.Match{Identity: stranger, Protocol: 6}] = []policy.Interval{{First: 443, Last: 443}}
	b.state.Policies[allowWeb] = table
	b.refill()
	if now := b.dp.tables.state.Generation; now != before {
		t.Errorf("generation %d, want %d", now, before)
	}
	from := func(port uint16) []byte {
		address := netip.MustParseAddr("10.0.0.9")
		segment := seal4(address, webAddr, 6, tcpSegment(5, port, flagSYN, ""))
		return overlay(overlayAddr(nodeB, 1, testVNI, address), overlayAddr(nodeA, 1, testVNI, webAddr), 6, segment)
	}
	b.redirect(t, b.dp.fromTunnel, from(443))
	b.drop(t, b.dp.fromTunnel, from(80), 0, "no-ingress-rule")
	// The row is somebody's now: another is a change.
	release()
	table = allowWebTable()
	table.Verdicts[policy.Match{Identity: stranger, Protocol: 6}] = []policy.Interval{{First: 80, Last: 80}}
	b.state.Policies[allowWeb] = table
	b.refill()
	if now := b.dp.tables.state.Generation; now != before+1 {
		t.Errorf("generation %d, want %d", now, before+1)
	}
	b.redirect(t, b.dp.fromTunnel, from(80))
}

// hold keeps packets of the last change under way until it is told to let go: a
// round that waits for them does not return.
func (b *bench) hold() (release func()) {
	b.t.Helper()
	release = b.linger()
	b.dp.tables.flipped = b.dp.tables.grace.begin()
	return release
}

// linger keeps the packets that are under way from now on until it is told to let
// go.
func (b *bench) linger() (release func()) {
	b.t.Helper()
	g := b.dp.tables.grace
	if err := g.wait(); err != nil {
		b.t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	elapse, held := g.elapse, make(chan struct{})
	g.elapse = func() error {
		<-held
		return elapse()
	}
	return sync.OnceFunc(func() { close(held) })
}

// A change does not wait for the packets that it has overtaken: the next one does,
// which writes over what they read.
func TestOnlyTheNextFlipWaits(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, allowAll)
	release := b.linger()
	defer release()
	before := b.dp.tables.state.Generation
	delete(b.state.Addresses, Address{testVNI, farAddr}) // closes, and gives back
	b.rules(nothing, allowAll)
	if now := b.dp.tables.state.Generation; now != before+1 {
		t.Fatalf("generation %d, want %d", now, before+1)
	}
	next := make(chan error, 1)
	b.set(webKey, func(e *Endpoint) { e.Ingress = allowWeb })
	want := b.state.State()
	go func() { next <- b.become(want) }()
	select {
	case err := <-next:
		t.Errorf("a change did not wait for the packets of the one before: %v", err)
	case <-time.After(50 * time.Millisecond): // there is nothing to see of who waits
	}
	release()
	if err := <-next; err != nil {
		t.Fatal(err)
	}
	if now := b.dp.tables.state.Generation; now != before+2 {
		t.Errorf("generation %d, want %d", now, before+2)
	}
}

// An address that goes and comes again, as somebody else's, takes no permission
// with it.
func TestWhoHasAnAddressNextIsJudgedAnew(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, nothing)
	b.redirect(t, b.dp.fromTunnel, farTCP(5000, flagSYN))
	far := Address{testVNI, farAddr}
	location := b.state.Addresses[far]
	delete(b.state.Addresses, far)
	b.refill()
	b.drop(t, b.dp.fromTunnel, farTCP(5000, flagACK), 0, "not-owner")
	location.Identity = 8
	b.state.Addresses[far] = location
	b.refill()
	b.drop(t, b.dp.fromTunnel, farTCP(5000, flagACK), 0, "no-ingress-rule")
}

// An address is where the longest prefix says, unless it is known by itself.
func TestAnAddressIsInTheLongestPrefix(t *testing.T) {
	b := newBench(t)
	nowhere := netip.MustParsePrefix("fd12:340c::/64") // no tunnel leads there
	to := netip.MustParseAddr("10.0.0.130")
	wide, narrow := netip.MustParsePrefix("10.0.0.128/25"), netip.MustParsePrefix("10.0.0.128/28")
	b.state.Routes = map[Route]Location{}
	port := uint16(1)
	passes := func(want bool) {
		t.Helper()
		port++
		if want {
			b.redirect(t, b.dp.fromEndpoint, tcp4(to, port, 80, flagSYN))
		} else {
			b.drop(t, b.dp.fromEndpoint, tcp4(to, port, 80, flagSYN), 0, "no-tunnel")
		}
	}
	b.drop(t, b.dp.fromEndpoint, tcp4(to, port, 80, flagSYN), 0, "no-route")
	b.state.Routes[Route{testVNI, wide}] = Location{Node: nodeB, Identity: someone}
	b.refill()
	passes(true)
	b.state.Routes[Route{testVNI, narrow}] = Location{Node: nowhere, Identity: someone}
	b.refill()
	passes(false)
	b.state.Addresses[Address{testVNI, to}] = Location{Node: nodeB, Identity: someone}
	b.refill()
	passes(true)
	delete(b.state.Addresses, Address{testVNI, to})
	b.refill()
	passes(false)
	delete(b.state.Routes, Route{testVNI, narrow})
	b.refill()
	passes(true)
	b.settled()
	passes(true)
	if n := b.dp.tables.routes.count; n != 1 {
		t.Errorf("%d prefixes are left, want 1", n)
	}
}

// A rule has one number for as long as it is there, whichever process asks.
func TestRulesKeepTheirNumbers(t *testing.T) {
	b := newBench(t)
	named := func(ids ...string) *policy.Table {
		table := &policy.Table{Verdicts: map[policy.Match][]policy.Interval{}}
		for i, id := range ids {
			table.Rules = append(table.Rules, policy.RuleRef{Group: "web", ID: id})
			port := uint16(100 + i)
			row := policy.Match{Identity: someone, Protocol: 6}
			table.Verdicts[row] = append(table.Verdicts[row], policy.Interval{First: port, Last: port, Rule: uint32(i)})
		}
		return table
	}
	numberOf := func(id string) uint32 {
		t.Helper()
		for number := range b.dp.tables.numbers.kernel.MaxEntries() {
			if rule, ok := b.dp.RuleOf(number); ok && rule.ID == id && rule.VNI == testVNI {
				return number
			}
		}
		t.Fatalf("rule %s has no number", id)
		return 0
	}
	delete(b.state.Endpoints, Key{otherVNI, "spy"})
	delete(b.state.Addresses, Address{otherVNI, netip.MustParseAddr("10.0.0.3")})
	delete(b.state.Addresses, Address{otherVNI, netip.MustParseAddr("10.0.0.5")})
	b.state.Policies[allowWeb] = named("00000000000a", "00000000000b")
	b.rules(allowWeb, nothing)
	first, second := numberOf("00000000000a"), numberOf("00000000000b")
	if first == 0 || second == 0 || first == second {
		t.Fatalf("numbers %d and %d", first, second)
	}
	b.state.Policies[allowWeb] = named("00000000000b", "00000000000c")
	b.refill()
	b.settled()
	third := numberOf("00000000000c")
	if numberOf("00000000000b") != second || third == first || third == second {
		t.Errorf("numbers %d and %d, after %d and %d", numberOf("00000000000b"), third, first, second)
	}
	b.adopt()
	if _, known := b.dp.RuleOf(second); known {
		t.Error("a number has a name before anybody said it")
	}
	b.refill()
	if numberOf("00000000000b") != second || numberOf("00000000000c") != third {
		t.Error("the next process gave other numbers")
	}
	if rule, known := b.dp.RuleOf(0); known {
		t.Errorf("the default is %v", rule)
	}
}

// Two addresses of a node that have the same token go without, until one of them
// is gone.
func TestEqualTokensAreNoTokens(t *testing.T) {
	seen := make(map[uint32]netip.Addr)
	var one, other netip.Addr
	for i := uint64(2); !one.IsValid(); i++ {
		bytes := netip.MustParseAddr("fd00:1::").As16()
		binary.BigEndian.PutUint64(bytes[8:], i)
		addr := netip.AddrFrom16(bytes)
		key := keyAt(testVNI, addr)
		token := tokenOf(&key)
		if seen[token].IsValid() {
			one, other = seen[token], addr
		}
		seen[token] = addr
	}
	b := newBench(t)
	tokens := func(node netip.Prefix, want int, addrs ...netip.Addr) {
		t.Helper()
		b.settled()
		for _, addr := range addrs {
			key := keyAt(testVNI, addr)
			places, _ := b.dp.tables.addresses.at(key)
			place := places[b.dp.tables.active()]
			if has := place.Token != 0; has != (want > 0) || place.Node != prefixWord(node) {
				t.Errorf("%v at %v has token %x", addr, node, place.Token)
			}
		}
		if n := len(b.dp.tables.tokens.mirror.have); n != want {
			t.Errorf("%d tokens, want %d", n, want)
		}
	}
	b.knows(testVNI, one.String(), nodeB)
	b.refill()
	tokens(nodeB, 1, one)
	b.knows(testVNI, other.String(), nodeB)
	b.refill()
	tokens(nodeB, 0, one, other)
	far := netip.MustParsePrefix("fd12:340c::/64")
	b.knows(testVNI, other.String(), far) // another node, another token
	b.refill()
	tokens(nodeB, 2, one)
	tokens(far, 2, other)
	delete(b.state.Addresses, Address{testVNI, other})
	b.refill()
	tokens(nodeB, 1, one)
}

// What does not fit is closed and said; what fits is served.
func TestFullTablesClose(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, allowAll)
	big := &policy.Table{Verdicts: map[policy.Match][]policy.Interval{}}
	for i := range 2 * b.cfg.MaxVerdicts {
		big.Verdicts[policy.Match{Identity: policy.Identity(100 + 2*i), Protocol: 6}] = []policy.Interval{{First: 1, Last: uint16(i + 1)}}
	}
	const huge policy.ID = 0xb16
	b.state.Policies[huge] = big
	b.set(webKey, func(e *Endpoint) { e.Ingress = huge })
	var failed *ApplyError
	if err := b.tryRefill(); !errors.As(err, &failed) || failed.Endpoints[webKey] == nil || !strings.Contains(err.Error(), "full") && !errors.Is(err, errNoRoom) {
		t.Errorf("error is %v", err)
	}
	b.drop(t, b.dp.fromTunnel, farTCP(1, flagSYN), 0, "no-ingress-rule")
	b.redirect(t, b.dp.fromEndpoint, tcp4(dbAddr, 1, 80, flagSYN))

	delete(b.state.Policies, huge)
	b.rules(allowWeb, allowAll)
	b.settled()
	b.redirect(t, b.dp.fromTunnel, farTCP(1, flagSYN))

	for i := range b.cfg.MaxAddresses {
		b.knows(testVNI, fmt.Sprintf("10.0.1.%d", i), nodeB)
	}
	if err := b.tryRefill(); err == nil || !strings.Contains(err.Error(), "map addresses is full") {
		t.Errorf("error is %v", err)
	}
	b.redirect(t, b.dp.fromTunnel, farTCP(2, flagSYN))
	for i := range b.cfg.MaxAddresses {
		delete(b.state.Addresses, Address{testVNI, netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})})
	}
	b.refill()
	b.settled()
	b.redirect(t, b.dp.fromTunnel, farTCP(3, flagSYN))
}

// Others come and go, and their memory is given to whoever comes next: nobody
// else loses a packet by it.
func TestOthersMayComeAndGo(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, allowAll)
	sent, lost := 0, 0
	stop := meanwhile(func(port uint16) {
		sent += 2
		if verdict, _ := run(t, b.dp.fromTunnel, farTCP(port, flagSYN), 0); verdict != redirect {
			lost++
		}
		if verdict, _ := run(t, b.dp.fromEndpoint, tcp4(dbAddr, port, 80, flagSYN), 0); verdict != redirect {
			lost++
		}
	})
	other := func(i int) (Key, Address) {
		return Key{testVNI, fmt.Sprint("other", i%3)}, Address{testVNI, netip.AddrFrom4([4]byte{10, 0, 0, byte(100 + i%5)})}
	}
	i := 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); i++ {
		old, oldAt := other(i)
		delete(b.state.Endpoints, old)
		delete(b.state.Addresses, oldAt)
		key, at := other(i + 1)
		e := b.endpoint(testVNI, key.Name, at.Addr.String(), nil)
		e.Ingress = policy.ID(0x100 + i%2)
		b.put(e)
		b.state.Policies[e.Ingress] = restsTable(nil)
		delete(b.state.Policies, policy.ID(0x101-i%2))
		for o, e := range b.state.Endpoints {
			if strings.HasPrefix(o.Name, "other") {
				e.Ingress = policy.ID(0x100 + i%2)
				b.state.Endpoints[o] = e
			}
		}
		b.wires[key] = wired{ifindex: uint32(200 + i%7), mac: dbMAC, delivery: edgenetDeliveryDELIVER_PEER}
		for o := range b.wires {
			if o != key && b.wires[o].ifindex == b.wires[key].ifindex {
				delete(b.wires, o)
			}
		}
		b.refill()
	}
	stop()
	if lost != 0 {
		t.Errorf("%d packets of %d were lost in %d changes", lost, sent, i)
	}
}

// adopt forgets all that this process knows of the tables.
func (b *bench) adopt() {
	b.t.Helper()
	if err := b.dp.tables.close(); err != nil {
		b.t.Fatal(err)
	}
	b.dp.filled = nil
	b.dp.tables = in(b.space, func() (*tables, error) { return openTables(b.dp.maps) })
}
