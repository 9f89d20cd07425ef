package mesh

import "time"

// take takes one message about signs of life, which is to be proved.
func (v *vigil) take(b []byte) {
	m, err := decodeSign(b)
	if err != nil {
		v.count(refuse(refusedMalformed, "%w", err))
		return
	}
	now := time.Now()
	switch {
	case m.beat != nil:
		err = v.takeBeat(m.beat, now)
	case m.heard != nil:
		err = v.takeHeard(m.heard, now)
	case m.silence != nil:
		err = v.takeSilence(m.silence, now)
	default:
		v.answer(m.ask, now)
	}
	v.count(err)
}

// count counts what was refused.
func (v *vigil) count(err error) {
	if err == nil {
		return
	}
	reason := v.s.m.replica.refusals.count(err)
	v.s.log.Debug("refuse sign of life", "reason", reason, "err", err)
}

// credentialOf returns the credential of a node that has not left.
func (v *vigil) credentialOf(id NodeID) (*credential, error) {
	if e := v.s.m.replica.table.get(ref{KindNode, string(id)}); e != nil && e.Deleted {
		return nil, refuse(refusedAuthor, "%s has left", id)
	}
	return v.s.m.replica.credentialOf(v.s.in.trustAnchor, id)
}

// proves tells why a beat is not its node's.
func (v *vigil) proves(b *beat) error {
	c, err := v.credentialOf(b.node)
	if err != nil {
		return err
	}
	if !b.signedBy(c.key) {
		return refuse(refusedSignature, "a beat: it is not the signature of %s", b.node)
	}
	return nil
}

// takeBeat takes a beat that comes from its node.
func (v *vigil) takeBeat(b *beat, now time.Time) error {
	if b.node == v.s.m.id {
		return nil
	}
	x := v.watches.of[b.node]
	denied := v.s.members.disputed(b.node, b.moment)
	if x != nil && (!b.after(x.newest.moment) || x.direct == v.watches.awake && v.tally.knows(b.node) == nil && !denied) {
		return nil // Late, twice, replayed, or more than is of use.
	}
	if err := v.proves(b); err != nil {
		return err
	}
	v.proved(b, now)
	if x == nil && !v.isWitness(v.s.m.id, b.node, witnessCount+witnessRoom) {
		return nil // Somebody else is to watch it.
	}
	v.watches.hear(b.node, b)
	before := v.tally.verdict(b.node, now)
	refuted, wrong := v.tally.refute(b, now)
	if refuted {
		v.tell(b)
		v.acquitted(b.node, before, wrong)
	}
	return nil
}

// proved notes that a node is there, in case that memberlist says it is not.
func (v *vigil) proved(b *beat, now time.Time) {
	if v.s.members.prove(b.node, b.moment, now) {
		v.s.log.Info("a node has proved that it is there, whatever gossip says", "node", b.node, "name", v.nameOf(b.node))
		v.s.membersChanged()
	}
}

// takeHeard takes a beat that somebody tells on.
func (v *vigil) takeHeard(b *beat, now time.Time) error {
	if known := v.tally.knows(b.node); b.node == v.s.m.id || known != nil && !b.after(known.moment) {
		return nil
	}
	if err := v.proves(b); err != nil {
		return err
	}
	v.proved(b, now)
	before := v.tally.verdict(b.node, now)
	news, wrong := v.tally.hear(b, now)
	if news {
		v.tell(b)
	}
	if len(wrong) > 0 || v.tally.verdict(b.node, now) != before {
		v.acquitted(b.node, before, wrong)
	}
	return nil
}

// acquitted tells that a node is heard of which something else was said.
func (v *vigil) acquitted(id NodeID, before State, wrong []NodeID) {
	if before == StateDead {
		v.s.log.Info("a node is heard again", "node", id, "name", v.nameOf(id))
	}
	for _, w := range wrong {
		v.count(refuseOf(w, refusedRefuted, "%s said that %s is silent", w, id))
	}
	v.s.membersChanged()
}

// takeSilence takes a witness's word.
func (v *vigil) takeSilence(s *silence, now time.Time) error {
	if s.witness == v.s.m.id || !v.tally.isNews(s) {
		return nil
	}
	c, err := v.credentialOf(s.witness)
	if err != nil {
		return err
	}
	if !s.signedBy(c.key) {
		return refuse(refusedSignature, "a witness's word: it is not the signature of %s", s.witness)
	}
	if known := v.tally.knows(s.beat.node); known == nil || known.moment != s.beat.moment {
		if err := v.proves(s.beat); err != nil {
			return err
		}
	}
	if !v.isWitness(s.witness, s.beat.node, witnessCount+witnessRoom) {
		return refuseOf(s.witness, refusedAuthor, "%s is not a witness of %s", s.witness, s.beat.node)
	}
	from := v.sayings[s.witness]
	if from == nil {
		from = &bucket{tokens: sayingsAtOnce, at: now}
		v.sayings[s.witness] = from
	}
	if !from.take(now) {
		return refuseOf(s.witness, refusedQuota, "%s says too often that others are silent", s.witness)
	}
	v.accept(s, now)
	if s.beat.node == v.s.m.id {
		v.refuteOwn(now)
	}
	return nil
}

// answer answers a node that asks for a beat, at the address in its record. If very
// many ask, something is said of this node that all have to know better.
func (v *vigil) answer(asker NodeID, now time.Time) {
	if v.answered > answersAtOnce || asker == v.s.m.id {
		return
	}
	if v.answered++; v.answered > answersAtOnce {
		v.tell(v.sign(now))
		return
	}
	if b, err := encodeBeat(v.sign(now)); err == nil {
		v.send(asker, b)
	}
}
