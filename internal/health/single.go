package health

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	// clockSlack is how far a clock may be from the others'.
	clockSlack = 3 * time.Second
	// A certificate is spoken of when it has less than soon left, or less than this
	// part of its life.
	soon     = 30 * 24 * time.Hour
	lastPart = 6
	// full is when there is no room left for another record, in percent.
	full = 99
)

// silence says who is alive, but has not answered.
func (j *judge) silence() {
	ids := j.sorted(slices.Collect(maps.Keys(j.Silent)))
	for _, id := range ids {
		if n := j.nodes[id]; n == nil || n.State == dead {
			continue
		}
		j.say(finding{
			severity: Warning, kind: "unasked-node", about: []string{id}, by: []string{j.Self},
			message: fmt.Sprintf("%s is alive, but this node could not ask it how it sees the mesh: %s", j.name(id), j.Silent[id]),
			advice:  "see that TCP reaches it at its peer port (7947)",
		})
	}
}

// clocks says whose clock is wrong: that which is far from the one in the middle.
func (j *judge) clocks() {
	reporters := j.reporters()
	var all []time.Duration
	for _, id := range reporters {
		all = append(all, j.Reports[id].Ahead)
	}
	slices.Sort(all)
	if len(all) == 2 {
		j.twoClocks(reporters)
		return
	}
	if len(all) < 2 {
		return
	}
	middle := all[len(all)/2]
	for _, id := range reporters {
		r := j.Reports[id]
		off := r.Ahead - middle
		if off.Abs() <= clockSlack+r.Within {
			continue
		}
		j.say(finding{
			severity: Warning, kind: "clock", about: []string{id}, by: []string{id},
			message: fmt.Sprintf("the clock of %s is %s %s the others'", j.name(id), long(off), verb(int(cmp.Compare(off, 0)), "ahead of", "behind")),
			advice:  "set it, and keep it right with NTP; the time of its peers is used meanwhile",
		})
	}
}

// twoClocks is clocks where it cannot be said which is wrong.
func (j *judge) twoClocks(ids []string) {
	a, b := j.Reports[ids[0]], j.Reports[ids[1]]
	if off := a.Ahead - b.Ahead; off.Abs() > clockSlack+a.Within+b.Within {
		j.say(finding{
			severity: Warning, kind: "clock", about: ids, by: ids,
			message: fmt.Sprintf("the clocks of %s and %s are %s apart", j.name(ids[0]), j.name(ids[1]), long(off)),
			advice:  "of two it cannot be said which is wrong: set them, and keep them right with NTP",
		})
	}
}

// certificates says which have expired, or will soon.
func (j *judge) certificates() {
	for _, n := range j.Nodes {
		left := n.Expires.Sub(j.Now)
		if n.Expires.IsZero() || left > min(soon, n.Expires.Sub(n.Begins)/lastPart) {
			continue
		}
		f := finding{
			severity: Warning, kind: "certificate", about: []string{n.ID}, by: []string{j.Self},
			message: fmt.Sprintf("the certificate of %s expires in %s", n.Name, long(left)),
			advice:  "nodes renew theirs long before: its status says why it has not; see that it reaches an authority",
		}
		if left <= 0 {
			f.severity, f.since = Error, n.Expires
			f.message = fmt.Sprintf("the certificate of %s expired %s ago: nothing new of it is believed", n.Name, long(left))
			f.advice = "have it leave, and join with a new token; if its clock or this one is wrong, set it"
		}
		j.say(f)
	}
}

// versions says that not all nodes run the same edgenetd.
func (j *judge) versions() {
	of := map[string][]string{}
	for _, n := range j.Nodes {
		if n.State != dead {
			of[n.Version] = append(of[n.Version], n.ID)
		}
	}
	if len(of) < 2 {
		return
	}
	versions := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(of[b]), len(of[a])), cmp.Compare(a, b))
	})
	var words, about []string
	for i, v := range versions {
		ids := j.sorted(of[v])
		if i == 0 {
			words = append(words, fmt.Sprintf("%s on %s", Words(v), counted(len(ids), "node", "nodes")))
			continue
		}
		words, about = append(words, fmt.Sprintf("%s on %s", Words(v), j.list(ids))), append(about, ids...)
	}
	if len(words) > shown+1 {
		words = append(words[:shown], fmt.Sprintf("%d more versions", len(words)-shown))
	}
	j.say(finding{
		severity: Warning, kind: "version", about: about, by: []string{j.Self},
		message: "nodes run different versions of edgenetd: " + enumerate(words),
		advice:  "end the upgrade that is under way, or begin one",
	})
}

// room says whose records are too many, or nearly.
func (j *judge) room() {
	for _, c := range j.Crowded {
		f := finding{
			severity: Warning, kind: "room", about: []string{c.ID}, by: []string{j.Self},
			message: fmt.Sprintf("%s has used %d %% of the room for its endpoints' records (%s)", j.name(c.ID), c.Percent, counted(c.Records, "record", "records")),
			advice:  "detach what is not needed; records of detached endpoints count for a day",
		}
		if c.Percent >= full {
			f.severity, f.message = Error, f.message+": no further ones are believed"
		}
		j.say(f)
	}
}

// endpoints says which do not work.
func (j *judge) endpoints() {
	for _, e := range j.Endpoints {
		f := finding{
			severity: Error, kind: "endpoint", about: []string{e.GetNodeId()}, by: []string{j.Self},
			message: fmt.Sprintf("endpoint %s of vpc %s on %s is %s: %s", e.GetName(), e.GetVpc(), e.GetNode(), e.GetState(), Words(e.GetMessage())),
			advice:  "endpoint show there says more",
		}
		if e.GetState() == "superseded" {
			f.severity, f.advice = Warning, "if the other one is the right one, detach it where it was superseded"
		}
		j.say(f)
	}
}

// problems says what nodes find wrong with themselves, and which policy tests are
// broken.
func (j *judge) problems() {
	for _, id := range j.reporters() {
		for _, p := range j.Reports[id].Problems {
			j.say(finding{
				severity: Error, kind: "problem", about: []string{id}, by: []string{id},
				message: fmt.Sprintf("%s says of itself: %s", j.name(id), p), advice: "status and the log there say more",
			})
		}
	}
	for _, t := range j.Tests {
		j.say(finding{severity: Warning, kind: "policy-test", by: []string{j.Self}, message: t, advice: "policy test run says more"})
	}
}
