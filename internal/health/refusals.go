package health

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// recently is how old a refusal may be to be spoken of.
	recently = time.Hour
	// busy is how often a witness may have been wrong: under load nodes are late.
	busy = 10
)

// reasons are what refusals mean.
var reasons = map[string]string{
	"malformed":       "it is no message, or not in the one form that messages have",
	"oversize":        "it is larger than messages can be",
	"unknown-kind":    "a kind of record that is not known here: its edgenetd may be newer",
	"bad-key":         "records under keys that cannot be",
	"wrong-author":    "records that their author may not sign, or words that it may not say",
	"unknown-author":  "records of a node that is not known here",
	"future-version":  "records from the future: a clock is wrong",
	"bad-certificate": "a certificate that is not by the mesh's authority, or not valid now",
	"bad-signature":   "it is not signed by whom it is said to be from",
	"bad-payload":     "records whose content makes no sense here: its edgenetd may be newer",
	"too-much":        "more than one node has room for",
	"refuted":         "it said that nodes are silent which are not: it hears badly, or does not tell the truth",
	"no-grant":        "endpoints that were not granted to it: they are in force nowhere",
	"too-often":       "more messages than there can be need for",
}

// refusedOf is what was refused for one reason, and by whom.
type refusedOf struct {
	of, reason string
	by         []string
	count      uint64
	last       time.Duration
}

// refusals says what was not believed lately, and of whom.
func (j *judge) refusals() {
	found := map[[2]string]*refusedOf{}
	var all []*refusedOf
	for _, id := range j.reporters() {
		for _, r := range j.Reports[id].Refusals {
			if r.Ago > recently || r.Count == 0 || reasons[r.Reason] == "" || r.Of == id {
				continue
			}
			key := [2]string{r.Of, r.Reason}
			one := found[key]
			if one == nil {
				one = &refusedOf{of: r.Of, reason: r.Reason, last: r.Ago}
				found[key] = one
				all = append(all, one)
			}
			if !slices.Contains(one.by, id) {
				one.by = append(one.by, id)
			}
			one.count, one.last = add(one.count, r.Count), min(one.last, r.Ago)
		}
	}
	slices.SortFunc(all, func(a, b *refusedOf) int {
		return cmp.Or(cmp.Compare(j.name(a.of), j.name(b.of)), cmp.Compare(a.reason, b.reason))
	})
	for _, r := range all {
		if r.reason == "refuted" && r.count < busy || r.reason == "unknown-author" {
			continue // It comes of load, and of nodes that have just joined.
		}
		j.refused(r)
	}
}

// add is a sum that does not begin anew.
func add(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

func (j *judge) refused(r *refusedOf) {
	whose, advice := "of unknown origin", "somebody with the gossip key, or on the network, sends them: their source is not proved"
	about := []string{}
	if r.of != "" {
		whose, about = "of "+j.name(r.of), []string{r.of}
		advice = fmt.Sprintf("look at %s: its version, and whether it is still yours", j.name(r.of))
	}
	j.say(finding{
		severity: Warning, kind: "refused-messages", about: about, by: r.by, since: time.Time{},
		message: fmt.Sprintf("%s %s refused %d messages %s as %s, the last one %s ago: %s",
			j.list(r.by), verb(len(r.by), "has", "have"), r.count, whose, r.reason, long(r.last), reasons[r.reason]),
		advice: advice,
	})
}
