package health

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// pair is two nodes between which something is wrong with the tunnel, by what at least
// one of them says.
type pair struct {
	a, b string
	// says is what each of them says, by its id.
	says map[string]Tunnel
}

func (p *pair) has(id string) bool { return p.a == id || p.b == id }

func (p *pair) other(id string) string {
	if p.a == id {
		return p.b
	}
	return p.a
}

// broken tells whether packets do not get through.
func broken(t Tunnel) bool { return t.State == "down" || t.State == "connecting" }

// trouble gathers what nodes say of their tunnels: where packets do not get through, and
// where they do but something else is wrong. Tunnels to dead nodes are no wonder.
func (j *judge) trouble() (down, odd []*pair) {
	found := map[[2]string]*pair{}
	for _, r := range j.reporters() {
		for _, t := range j.Reports[r].Tunnels {
			n := j.nodes[t.To]
			if n == nil || t.To == r || j.Reports[r].Views[t.To].State == dead || n.State == dead && j.Reports[t.To] == nil {
				continue
			}
			key := [2]string{min(r, t.To), max(r, t.To)}
			p := found[key]
			if p == nil {
				p = &pair{a: r, b: t.To, says: map[string]Tunnel{}}
				found[key] = p
				down = append(down, p)
			}
			p.says[r] = t
		}
	}
	works := func(p *pair) bool { return !broken(p.says[p.a]) && !broken(p.says[p.b]) }
	for _, p := range down {
		if works(p) {
			odd = append(odd, p)
		}
	}
	return slices.DeleteFunc(down, works), odd
}

// pairs says which nodes do not reach one another, though both are there.
func (j *judge) pairs() {
	down, odd := j.trouble()
	const many = 4
	for {
		count := map[string]int{}
		for _, p := range down {
			count[p.a]++
			count[p.b]++
		}
		worst := ""
		for id, n := range count {
			if n >= many && (worst == "" || cmp.Or(cmp.Compare(count[worst], n), cmp.Compare(j.name(id), j.name(worst))) < 0) {
				worst = id
			}
		}
		if worst == "" {
			break
		}
		j.lonely(worst, slices.DeleteFunc(slices.Clone(down), func(p *pair) bool { return !p.has(worst) }))
		down = slices.DeleteFunc(down, func(p *pair) bool { return p.has(worst) })
	}
	for _, p := range down {
		j.apart(p)
	}
	for _, p := range odd {
		j.strained(p)
	}
}

const pathAdvice = "look at what is between their underlay addresses, at the UDP ports of node show; tunnel show on either says more"

// apart is one pair that does not reach one another.
func (j *judge) apart(p *pair) {
	f := finding{
		severity: Error, kind: "unreachable-pair", about: []string{p.a, p.b}, by: sayers(p), since: j.before(age(p)),
		message: fmt.Sprintf("%s and %s do not reach one another in their tunnel: %s", j.name(p.a), j.name(p.b), j.words(p)),
		advice:  pathAdvice,
	}
	if by := sayers(p); len(by) == 1 && by[0] != j.Self {
		f.severity = Warning
		f.message += "; " + j.otherWord(p.other(by[0]))
	}
	j.say(f)
}

// otherWord says why only one of a pair says something.
func (j *judge) otherWord(id string) string {
	if j.Reports[id] == nil {
		return j.name(id) + " was not asked, or has not answered"
	}
	return j.name(id) + " says nothing of it"
}

// lonely is a node that many others do not reach.
func (j *judge) lonely(id string, all []*pair) {
	var others, by []string
	oldest := time.Duration(0)
	for _, p := range all {
		others, oldest = append(others, p.other(id)), max(oldest, age(p))
		for _, s := range sayers(p) {
			if !slices.Contains(by, s) {
				by = append(by, s)
			}
		}
	}
	j.sorted(others)
	f := finding{
		severity: Error, kind: "unreachable-pair", about: append([]string{id}, others...), by: j.sorted(by), since: j.before(oldest),
		message: fmt.Sprintf("%s and %d others do not reach one another in their tunnels (%s): %s",
			j.name(id), len(others), j.list(others), j.words(all[0])),
		advice: fmt.Sprintf("look at the links of %s first; %s", j.name(id), pathAdvice),
	}
	if slices.Equal(by, []string{id}) && id != j.Self {
		f.severity = Warning
		f.message += fmt.Sprintf("; it is %s alone that says so", j.name(id))
	}
	j.say(f)
}

// strained is a pair whose tunnel works, though something is wrong with it.
func (j *judge) strained(p *pair) {
	j.say(finding{
		severity: Warning, kind: "tunnel", about: []string{p.a, p.b}, by: sayers(p), since: j.before(age(p)),
		message: fmt.Sprintf("the tunnel between %s and %s works, but: %s", j.name(p.a), j.name(p.b), j.words(p)),
		advice:  "tunnel show on either says more",
	})
}

// sayers are those of a pair who say something, in the order of their names.
func sayers(p *pair) []string {
	var out []string
	for _, id := range []string{p.a, p.b} {
		if _, says := p.says[id]; says {
			out = append(out, id)
		}
	}
	return out
}

// words are what the ends of a pair say.
func (j *judge) words(p *pair) string {
	out := ""
	for _, id := range sayers(p) {
		if out != "" {
			out += "; "
		}
		t := p.says[id]
		words := t.Words
		if words == "" {
			words = "it is " + t.State
		}
		out += fmt.Sprintf("%s says: %s", j.name(id), words)
	}
	return out
}

// age is for how long one of the ends says so.
func age(p *pair) time.Duration { return max(p.says[p.a].For, p.says[p.b].For) }
