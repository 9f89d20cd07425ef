package health

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// settling is how long views may differ: what one node has just found is on its way to
// the others.
const settling = 10 * time.Second

// opinions are what is thought of one node, by those who were asked and are not it.
type opinions struct {
	about string
	// dead, suspect and alive are who sees it so.
	dead, suspect, alive []string
	// answers is true if it has answered itself.
	answers bool
	// oldest is for how long somebody says so.
	oldest time.Duration
}

// opinionsOf gathers them of the nodes that somebody does not see alive, by name.
func (j *judge) opinionsOf() []opinions {
	doubted := map[string]bool{}
	reporters := j.reporters()
	for _, r := range reporters {
		for id := range j.Reports[r].Views {
			if j.nodes[id] != nil && id != r {
				doubted[id] = true
			}
		}
	}
	ids := make([]string, 0, len(doubted))
	for id := range doubted {
		ids = append(ids, id)
	}
	var out []opinions
	for _, id := range j.sorted(ids) {
		o := opinions{about: id, answers: j.Reports[id] != nil}
		for _, r := range reporters {
			if r == id {
				continue
			}
			v, doubts := j.Reports[r].Views[id]
			switch {
			case !doubts:
				o.alive = append(o.alive, r)
			case v.State == dead:
				o.dead, o.oldest = append(o.dead, r), max(o.oldest, v.For)
			default:
				o.suspect = append(o.suspect, r)
			}
		}
		out = append(out, o)
	}
	return out
}

// views says who is dead, and where nodes do not agree on that.
func (j *judge) views() {
	var gone []opinions
	split := map[string][]opinions{}
	var keys []string
	for _, o := range j.opinionsOf() {
		others := len(o.alive) + len(o.suspect)
		switch {
		case len(o.dead) == 0:
			j.suspected(o)
		case !o.answers && (others == 0 || others == 1 && len(o.dead) > 1):
			gone = append(gone, o)
		default:
			key := fmt.Sprint(o.answers, o.dead)
			if split[key] == nil {
				keys = append(keys, key)
			}
			split[key] = append(split[key], o)
		}
	}
	j.gone(gone)
	told := map[string]bool{}
	for _, key := range keys {
		j.differ(split[key], told)
	}
	j.minority()
}

// suspected says that a node is silent, and nobody has found it dead.
func (j *judge) suspected(o opinions) {
	j.say(finding{
		severity: Note, kind: "suspect-node", about: []string{o.about}, by: o.suspect,
		message: fmt.Sprintf("%s is silent, as %s %s it", j.name(o.about), j.list(o.suspect), verb(len(o.suspect), "sees", "see")),
		advice:  "it is found dead within seconds, or heard again; if it goes on, look at its load and at its links",
	})
}

// gone says who is dead. Many are told of together.
func (j *judge) gone(all []opinions) {
	const many = 4
	if len(all) < many {
		for _, o := range all {
			j.dead([]opinions{o})
		}
		return
	}
	j.dead(all)
}

func (j *judge) dead(all []opinions) {
	var about []string
	since := time.Duration(0)
	var doubters []string
	for _, o := range all {
		about, since = append(about, o.about), max(since, o.oldest)
		for _, id := range append(slices.Clone(o.alive), o.suspect...) {
			if !slices.Contains(doubters, id) {
				doubters = append(doubters, id)
			}
		}
	}
	f := finding{
		severity: Error, kind: "dead-node", about: about, by: all[0].dead, since: j.before(since),
		message: fmt.Sprintf("%s %s dead", j.list(about), verb(len(about), "is", "are")),
		advice:  "see that the host is up, that edgenetd runs there, and that its underlay reaches the others; if it is not to come back, let it be forgotten (30 days), or evict it",
	}
	if n := len(all[0].dead); n > 1 {
		f.message += fmt.Sprintf(" for all %d nodes that say how they see it", n)
	} else {
		f.message += ", as " + j.list(all[0].dead) + " sees it"
	}
	if len(doubters) > 0 {
		f.message += fmt.Sprintf("; %s alone %s otherwise", j.list(doubters), verb(len(doubters), "says", "say"))
	}
	j.say(f)
}

// differ says that some see nodes as dead that others do not.
func (j *judge) differ(all []opinions, told map[string]bool) {
	sayers := all[0].dead
	var about, others []string
	oldest := time.Duration(0)
	for _, o := range all {
		about, oldest = append(about, o.about), max(oldest, o.oldest)
	}
	if others = slices.DeleteFunc(slices.Clone(all[0].alive), func(id string) bool { return slices.Contains(about, id) }); told[strings.Join(sayers, " ")] {
		return // They were named as the other half.
	}
	f := finding{severity: Error, kind: "split-view", about: about, by: sayers, since: j.before(oldest)}
	answers := ""
	if all[0].answers {
		answers = fmt.Sprintf(", and %s", verb(len(about), "it answers", "they answer"))
	}
	switch {
	case j.mutual(sayers, about):
		told[strings.Join(about, " ")] = true
		if slices.Contains(about, j.Self) {
			sayers, about = about, sayers
		}
		f.about, f.by = append(slices.Clone(about), sayers...), append(slices.Clone(sayers), about...)
		f.message = fmt.Sprintf("the mesh is split: %s on one side and %s on the other see one another as dead", j.list(sayers), j.list(about))
		f.advice = "gossip (UDP and TCP, port 7946) does not come through between the two sides: look at what is between them"
	case len(sayers) == 1 && sayers[0] != j.Self:
		f.severity = Warning
		f.message = fmt.Sprintf("%s alone sees %s as dead%s", j.name(sayers[0]), j.list(about), answers)
		if len(others) > 0 {
			f.message += fmt.Sprintf("; %s %s not", j.list(others), verb(len(others), "does", "do"))
		}
		f.advice = fmt.Sprintf("gossip does not come through to %s, or what it says is wrong: look at its links and its log", j.name(sayers[0]))
	default:
		f.message = fmt.Sprintf("%s %s %s as dead%s", j.list(sayers), verb(len(sayers), "sees", "see"), j.list(about), answers)
		if len(others) > 0 {
			f.message += fmt.Sprintf("; %s %s not", j.list(others), verb(len(others), "does", "do"))
		}
		f.advice = "gossip (UDP and TCP, port 7946) does not come through everywhere: look at what is between them"
	}
	if oldest < settling {
		f.severity, f.advice = Note, "it is a few seconds old, and may be on its way to the others: ask again"
	}
	j.say(f)
}

// mutual tells whether nodes that see others as dead are seen so by all of these.
func (j *judge) mutual(sayers, about []string) bool {
	for _, a := range about {
		r := j.Reports[a]
		if r == nil {
			return false
		}
		for _, s := range sayers {
			if r.Views[s].State != dead {
				return false
			}
		}
	}
	return true
}

// minority says that most nodes are missing: it may be this part that is cut off.
func (j *judge) minority() {
	there, missing := 0, []string{}
	for _, n := range j.Nodes {
		if n.ID == j.Self || n.State != dead || j.Reports[n.ID] != nil {
			there++
		} else {
			missing = append(missing, n.ID)
		}
	}
	if 2*there > len(j.Nodes) || len(j.Nodes) < 3 {
		return
	}
	j.say(finding{
		severity: Error, kind: "split-view", about: j.sorted(missing), by: []string{j.Self},
		message: fmt.Sprintf("only %d of %d nodes are there for this node: it may be this part of the mesh that is cut off", there, len(j.Nodes)),
		advice:  "ask a node of the other part; what runs here goes on, and both parts find one another when they can",
	})
}
