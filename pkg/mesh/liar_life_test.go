package mesh

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// lifeLies are about who is there, by beats and words of witnesses.
var lifeLies = map[string]lie{
	"a node is silent":                  lieAboutSilence,
	"a node is silent, say others":      lieAsWitnesses,
	"beats of another":                  lieByBeat,
	"many nodes are silent, very often": lieOften,
}

// beatPatience is for how long a liar waits for a beat of its victim: they come
// every second.
const beatPatience = 10 * time.Second

// overheard waits for the next beat of a node, which every witness gets: there is
// none later than that, so what is said of it is news to all.
func (l *liar) overheard(v Node) (*beat, error) {
	t := l.s.members.tally
	t.mu.Lock()
	c := t.caseOf(v.ID) // A case keeps what comes.
	c.touched = time.Now()
	before := c.newest
	t.mu.Unlock()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for over := time.After(beatPatience); ; {
		if b := t.knows(v.ID); b != before {
			return b, nil
		}
		select {
		case <-tick.C:
		case <-over:
			return nil, fmt.Errorf("hear a beat of %s: none came", v.Name)
		}
	}
}

// now is a moment of the liar's that it has not used.
func (l *liar) now() moment {
	l.moments++
	at := l.s.vigil.moment(time.Now())
	at.at += l.moments
	return at
}

// saySilence tells a word of a witness.
func (l *liar) saySilence(s *silence) error {
	b, err := encodeSilence(s)
	if err != nil {
		return err
	}
	return l.whisper(b)
}

// lieAboutSilence says as a witness, signed, that a node is silent that is not, as
// often as asked for.
func lieAboutSilence(l *liar, o *liarOrder) error {
	v, err := l.victim(o)
	if err != nil {
		return err
	}
	last, err := l.overheard(v)
	if err != nil {
		return err
	}
	return l.saySilence(newSilence(l.id, last, time.Second, l.now(), l.key))
}

// lieOften says it of all others, far more often than a witness may.
func lieOften(l *liar, o *liarOrder) error {
	for _, v := range l.others() {
		last, err := l.overheard(v)
		if err != nil {
			return err
		}
		for range o.Count {
			if err := l.saySilence(newSilence(l.id, last, time.Second, l.now(), l.key)); err != nil {
				return err
			}
		}
	}
	return nil
}

// lieAsWitnesses says it in the name of all others and of nobody, about beats that
// were made and that were not.
func lieAsWitnesses(l *liar, o *liarOrder) error {
	v, err := l.victim(o)
	if err != nil {
		return err
	}
	last, err := l.overheard(v)
	if err != nil {
		return err
	}
	never := newBeat(v.ID, last.plus(time.Hour), l.key)
	nobody := NodeID(strings.Repeat("ab", idDigits/2))
	said := []*silence{newSilence(nobody, last, time.Second, l.now(), l.key), newSilence(l.id, never, time.Second, l.now(), l.key)}
	for _, witness := range l.others() {
		if witness.ID != v.ID {
			said = append(said, newSilence(witness.ID, last, time.Second, l.now(), l.key))
		}
	}
	for _, s := range said {
		err = errors.Join(err, l.saySilence(s))
	}
	return err
}

// lieByBeat gives out beats in another's name, later than all that it will make.
func lieByBeat(l *liar, o *liarOrder) error {
	v, err := l.victim(o)
	if err != nil {
		return err
	}
	last, err := l.overheard(v)
	if err != nil {
		return err
	}
	never := newBeat(v.ID, last.plus(time.Hour), l.key)
	for _, encode := range []func(*beat) ([]byte, error){encodeBeat, encodeHeard} {
		for _, b := range []*beat{never, last} {
			message, err := encode(b)
			if err == nil {
				err = l.whisper(message)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
