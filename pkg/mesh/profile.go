package mesh

import (
	"fmt"
	"time"
)

// Profile says how soon a node that is gone is noticed, and at what cost.
type Profile string

// The profiles. Nodes of different profiles can be in one mesh: each node beats
// and judges by its own, and a node is as soon agreed dead as most of its
// witnesses are quick.
const (
	// ProfileWAN is for hosts that talk over the internet: dead in at most 5 s.
	ProfileWAN Profile = "wan"
	// ProfileLAN is for hosts of one site or data centre: dead in at most 2 s.
	ProfileLAN Profile = "lan"
)

// timing is what a profile stands for.
type timing struct {
	// beat is the time between two beats of a node.
	beat time.Duration
	// tick is how often a node looks at what it has heard.
	tick time.Duration
	// ask is after what silence a node is asked for a beat, each tick, and knock
	// after what silence its host is knocked at.
	ask, knock time.Duration
	// silent is after what silence a witness says so, and starved of a node whose
	// host still answers: it may lack processor time. memberlist gives it not much
	// more.
	silent, starved time.Duration
}

// The figures: a node whose last beat came just before it died is said to be
// silent at most silent and a tick later, and gossip takes up to half a second,
// or a second over long distances, to tell all. Silence stands for at least two
// beats and six asks in a row that were lost or late.
var timings = map[Profile]timing{
	ProfileWAN: {
		beat: time.Second, tick: 250 * time.Millisecond,
		ask: 1500 * time.Millisecond, knock: 2 * time.Second, silent: 3250 * time.Millisecond,
		starved: 6500 * time.Millisecond,
	},
	ProfileLAN: {
		beat: 500 * time.Millisecond, tick: 125 * time.Millisecond,
		ask: 750 * time.Millisecond, knock: 750 * time.Millisecond, silent: 1250 * time.Millisecond,
		starved: 3500 * time.Millisecond,
	},
}

// ParseProfile returns the profile of a name; of none it is ProfileWAN.
func ParseProfile(name string) (Profile, error) {
	switch p := Profile(name); p {
	case "":
		return ProfileWAN, nil
	case ProfileWAN, ProfileLAN:
		return p, nil
	default:
		return "", fmt.Errorf("%q: want %s or %s", name, ProfileWAN, ProfileLAN)
	}
}
