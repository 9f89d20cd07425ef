package isolation

import (
	"testing"

	"edgenet.dev/edgenet/pkg/policy"
)

// rests is a policy for tests: the rest may come to TCP 80 to 90, but someone
// to 85 only, by a row of its own.
const rests policy.ID = 0x4e57

func restsTable(own []policy.Interval) *policy.Table {
	t := &policy.Table{Verdicts: map[policy.Match][]policy.Interval{
		{Identity: someone.Rest(), Protocol: 6}: {{First: 80, Last: 90}},
	}}
	if own != nil {
		t.Verdicts[policy.Match{Identity: someone, Protocol: 6}] = own
	}
	return t
}

func (b *bench) ruledBy(table *policy.Table) {
	b.t.Helper()
	b.state.Policies[rests] = table
	b.rules(rests, nothing)
}

func TestIdentitiesWithoutARowShareOne(t *testing.T) {
	b := newBench(t)
	b.ruledBy(restsTable(nil))
	b.redirect(t, b.dp.fromTunnel, fromFar(6, tcpSegment(1, 80, flagSYN, "")))
	b.drop(t, b.dp.fromTunnel, fromFar(6, tcpSegment(2, 91, flagSYN, "")), 0, "no-ingress-rule")
	b.drop(t, b.dp.fromTunnel, fromFar(17, udpDatagram(3, 80, "")), 0, "no-ingress-rule")
}

func TestARowOfItsOwnIsAllThatCounts(t *testing.T) {
	b := newBench(t)
	b.ruledBy(restsTable([]policy.Interval{{First: 85, Last: 85}}))
	b.redirect(t, b.dp.fromTunnel, fromFar(6, tcpSegment(1, 85, flagSYN, "")))
	b.drop(t, b.dp.fromTunnel, fromFar(6, tcpSegment(2, 80, flagSYN, "")), 0, "no-ingress-rule")
}

func TestADenialDrops(t *testing.T) {
	b := newBench(t)
	b.ruledBy(restsTable([]policy.Interval{{First: 80, Last: 80, Action: policy.Deny}, {First: 81, Last: 90}}))
	b.redirect(t, b.dp.fromTunnel, fromFar(6, tcpSegment(1, 81, flagSYN, "")))
	b.drop(t, b.dp.fromTunnel, fromFar(6, tcpSegment(2, 80, flagSYN, "")), 0, "no-ingress-rule")
}

func TestTheRestIsOfOneFamily(t *testing.T) {
	b := newBench(t)
	table := restsTable(nil)
	b.ruledBy(&policy.Table{Verdicts: map[policy.Match][]policy.Interval{
		{Identity: 1 - someone.Rest(), Protocol: 6}: table.Verdicts[policy.Match{Identity: someone.Rest(), Protocol: 6}],
	}})
	b.drop(t, b.dp.fromTunnel, fromFar(6, tcpSegment(1, 80, flagSYN, "")), 0, "no-ingress-rule")
}

func TestWhoHasNoIdentityIsNotOfTheRest(t *testing.T) {
	b := newBench(t)
	b.ruledBy(restsTable(nil))
	for address, location := range b.state.Addresses {
		location.Identity = 0
		b.state.Addresses[address] = location
	}
	b.refill()
	b.drop(t, b.dp.fromTunnel, fromFar(6, tcpSegment(1, 80, flagSYN, "")), 0, "no-ingress-rule")
}
