package mesh

import (
	"fmt"
	"testing"
	"time"
)

// The tests of a tally need no true signatures: those are looked at before.
func lifeID(i int) NodeID { return NodeID(fmt.Sprintf("%040x", i+1)) }

func beatOf(node NodeID, start Version, at time.Duration) *beat {
	return &beat{node: node, moment: moment{start, uint64(at.Milliseconds())}}
}

func wordOf(witness NodeID, last *beat, silent, at time.Duration) *silence {
	return &silence{witness: witness, beat: last, silent: silent, moment: moment{9, uint64(at.Milliseconds())}}
}

var (
	noon    = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	subject = lifeID(100)
	five    = []NodeID{lifeID(0), lifeID(1), lifeID(2), lifeID(3), lifeID(4)}
)

// saying has some witnesses say that the subject is silent since its tenth second.
func saying(t *tally, witnesses ...NodeID) {
	for _, w := range witnesses {
		t.say(wordOf(w, beatOf(subject, 1, 10*time.Second), 3*time.Second, time.Second), noon)
	}
}

func (t *tally) check(tt *testing.T, what string, want State) {
	tt.Helper()
	if got := t.verdict(subject, noon); got != want {
		tt.Errorf("%s: the node is %s, want %s", what, got, want)
	}
}

// One word makes a node suspect, and those of most of its witnesses make it dead.
func TestMostWitnessesDecide(t *testing.T) {
	for witnesses, need := range map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 3} {
		tally, all := newTally(), five[:witnesses]
		tally.check(t, "nothing is said", StateAlive)
		for i, w := range all {
			saying(tally, w)
			agreed := tally.agree(subject, all, noon)
			if agreed != (i+1 == need) {
				t.Errorf("%d of %d witnesses: agreed is %t", i+1, witnesses, agreed)
			}
			if want := StateSuspect; i+1 < need {
				tally.check(t, fmt.Sprintf("%d of %d", i+1, witnesses), want)
			} else {
				tally.check(t, fmt.Sprintf("%d of %d", i+1, witnesses), StateDead)
			}
		}
	}
	tally := newTally()
	saying(tally, lifeID(7), lifeID(8), lifeID(9))
	if tally.agree(subject, five, noon) {
		t.Error("the words of others than its witnesses made a node dead")
	}
}

// A node that is dead stays so when its witnesses change, until it is heard.
func TestWhatIsAgreedStays(t *testing.T) {
	tally := newTally()
	saying(tally, five[:3]...)
	tally.agree(subject, five, noon)
	tally.agree(subject, []NodeID{lifeID(20), lifeID(21), lifeID(22)}, noon)
	tally.check(t, "with other witnesses", StateDead)
	for what, b := range map[string]*beat{
		"a beat from before":                beatOf(subject, 1, 9*time.Second),
		"the last beat":                     beatOf(subject, 1, 10*time.Second),
		"one that the witnesses had missed": beatOf(subject, 1, 12*time.Second),
	} {
		tally.hear(b, noon)
		tally.check(t, what, StateDead)
	}
	if news, _ := tally.hear(beatOf(subject, 1, 13*time.Second), noon); !news {
		t.Error("a beat that proves witnesses wrong is no news")
	}
	tally.check(t, "heard", StateAlive)
	tally = newTally()
	saying(tally, five[:3]...)
	tally.agree(subject, five, noon)
	tally.hear(beatOf(subject, 2, 0), noon)
	tally.check(t, "started anew", StateAlive)
	if tally.wrong[five[0]].count != 0 {
		t.Error("a witness is blamed that was right")
	}
}

// What a beat has proved wrong, or a witness has taken back by a later word, has
// no force when it is said again.
func TestWordsAreNotReplayed(t *testing.T) {
	tally := newTally()
	word := wordOf(five[0], beatOf(subject, 1, 10*time.Second), 3*time.Second, time.Second)
	fresh := func(what string, s *silence, want bool) {
		t.Helper()
		if got := tally.isNews(s); got != want {
			t.Errorf("%s: news is %t", what, got)
		}
	}
	fresh("the first word", word, true)
	tally.say(word, noon)
	fresh("the same again", word, false)
	fresh("a later word", wordOf(five[0], word.beat, 3*time.Second, 2*time.Second), true)
	tally.hear(beatOf(subject, 1, 13*time.Second), noon)
	fresh("the first word, after it was proved wrong", word, false)
	fresh("another witness's, of the same silence", wordOf(five[1], word.beat, 3*time.Second, time.Second), false)
	fresh("a later silence", wordOf(five[1], beatOf(subject, 1, 13*time.Second), 3*time.Second, time.Second), true)
	later := wordOf(five[0], beatOf(subject, 1, 13*time.Second), 3*time.Second, 9*time.Second)
	tally.say(later, noon)
	if !tally.acquit(subject) {
		t.Error("hearing a suspect changes nothing")
	}
	tally.check(t, "heard by the node itself", StateAlive)
	fresh("what was said before", later, false)
}

// A liar makes a node suspect three times, and then nobody. No word can be proof
// against all beats: it speaks of a beat that the node has made.
func TestALiarIsDoubted(t *testing.T) {
	tally, liar := newTally(), five[0]
	at := 10 * time.Second
	for i := range 6 {
		last := beatOf(subject, 1, at)
		tally.say(wordOf(liar, last, maxSilent, at), noon)
		want := StateSuspect
		if i >= doubtedFrom {
			want = StateAlive
		}
		tally.check(t, fmt.Sprintf("lie %d", i+1), want)
		if tally.agree(subject, five, noon) {
			t.Fatal("a liar alone made a node dead")
		}
		at += maxSilent
		_, wrong := tally.hear(beatOf(subject, 1, at), noon)
		if len(wrong) != 1 || wrong[0] != liar {
			t.Errorf("lie %d: %v are said to have been wrong", i+1, wrong)
		}
	}
	last := beatOf(subject, 1, at)
	tally.say(wordOf(five[1], last, time.Second, at), noon)
	tally.check(t, "an honest word", StateSuspect)
}

// What nobody says anew is forgotten: memberlist's own word counts then.
func TestCasesExpire(t *testing.T) {
	tally := newTally()
	saying(tally, five[:3]...)
	tally.agree(subject, five, noon)
	if tally.expire(noon.Add(caseLife)); tally.verdict(subject, noon) != StateDead {
		t.Error("it was forgotten too early")
	}
	if !tally.expire(noon.Add(caseLife+1)) || len(tally.cases) != 0 {
		t.Error("it was not forgotten")
	}
}

// Made-up witnesses do not fill the memory.
func TestWordsAreBounded(t *testing.T) {
	tally, heard := newTally(), 0
	for i := range 10 * maxSayings {
		if s := wordOf(lifeID(i), beatOf(subject, 1, 10*time.Second), time.Second, time.Second); tally.isNews(s) {
			tally.say(s, noon)
			heard++
		}
	}
	if heard != maxSayings {
		t.Errorf("%d witnesses of one node were heard", heard)
	}
}
