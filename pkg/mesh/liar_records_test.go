package mesh

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// recordLies are told by records.
var recordLies = map[string]lie{
	"another's node record":             lieAsNode,
	"another's endpoints":               lieAboutEndpoints,
	"what only authorities say":         lieAsAuthority,
	"deletions of what is another's":    lieByDeletion,
	"versions of the future":            lieAboutTime,
	"keep":                              keep,
	"what was true once":                replay,
	"changed envelopes":                 lieByChange,
	"records in other forms":            lieInForms,
	"certificates":                      lieByCertificate,
	"another's underlay":                lieAboutUnderlay,
	"the truth again":                   (*liar).repent,
	"an endpoint of its own":            lieAboutItself,
	"an endpoint of its own, withdrawn": (*liar).withdraw,
	"more than its share":               lieTooMuch,
}

// lieAsNode says what another node is: signed by the liar, with either's certificate.
func lieAsNode(l *liar, o *liarOrder) error {
	v, err := l.victim(o)
	if err != nil {
		return err
	}
	e := l.replica.table.get(ref{KindNode, string(v.ID)})
	body := l.body(KindNode, string(v.ID), e.Payload)
	body.Node = v.ID.bytes()
	withVictims, ok := proto.Clone(body).(*wire.Body)
	if !ok {
		return errBadMessage
	}
	withVictims.Certificate = e.credential().der
	authored := l.body(KindNode, string(v.ID), e.Payload) // which names its true author
	return l.claim(body, withVictims, authored)
}

// lieAboutEndpoints says where another's endpoints are, as that node and as itself.
func lieAboutEndpoints(l *liar, o *liarOrder) error {
	v, err := l.victim(o)
	if err != nil {
		return err
	}
	var bodies []*wire.Body
	for _, r := range l.List(KindEndpoint) {
		if r.Node != v.ID {
			continue
		}
		asVictim := l.body(KindEndpoint, r.Key, r.Payload)
		asVictim.Node = v.ID.bytes()
		bodies = append(bodies, asVictim, l.body(KindEndpoint, r.Key, r.Payload))
	}
	if len(bodies) == 0 {
		return fmt.Errorf("lie about endpoints of %s: it has none", v.Name)
	}
	return l.claim(bodies...)
}

// authorityKey is a key of a record that only an authority may sign: one that is free, if
// there can be several of the kind, and for this node, if it is about one.
func (l *liar) authorityKey(kind Kind, victim NodeID) (string, error) {
	switch kind {
	case "eviction":
		return string(victim), nil
	case "gossipkey":
		return "gossip", nil
	case KindVPC:
		return "liars", nil
	case KindGroup:
		return "77/liars", nil
	case KindTests, KindShadow:
		return "77", nil
	case KindTunnels:
		return PolicyKey, nil
	case KindSettings:
		return SettingsKey, nil
	case KindGrant:
		return string(l.id) + "/77/liars", nil
	default:
		return "", fmt.Errorf("lie by a record of kind %s: how is not known", kind)
	}
}

// lieAsAuthority signs each kind of record that only authorities may, the mesh's own
// ones changed and new ones.
func lieAsAuthority(l *liar, o *liarOrder) error {
	v, err := l.victim(o)
	if err != nil {
		return err
	}
	var bodies []*wire.Body
	for _, kind := range kinds {
		if kind == KindNode || kind == KindEndpoint {
			continue
		}
		key, err := l.authorityKey(kind, v.ID)
		if err != nil {
			return err
		}
		bodies = append(bodies, l.body(kind, key, []byte{}))
		for _, r := range l.List(kind) {
			body := l.body(kind, r.Key, r.Payload)
			inAuthorsName := l.body(kind, r.Key, r.Payload)
			inAuthorsName.Node = r.Node.bytes()
			bodies = append(bodies, body, inAuthorsName)
		}
	}
	return l.claim(bodies...)
}

// lieByDeletion deletes everything that is not its own.
func lieByDeletion(l *liar, _ *liarOrder) error {
	var bodies []*wire.Body
	for _, e := range l.replica.table.entries(func(e *entry) bool { return e.Node != l.id }) {
		for _, author := range []NodeID{e.Node, l.id} {
			body := l.body(e.Kind, e.Key, nil)
			body.Node, body.Deleted = author.bytes(), true
			bodies = append(bodies, body)
		}
	}
	return l.claim(bodies...)
}

// lieAboutTime says things that come later than everything that anybody else will say.
func lieAboutTime(l *liar, o *liarOrder) error {
	var bodies []*wire.Body
	for i, version := range []Version{math.MaxUint64, 1 << 63, versionAt(l.replica.now().Add(time.Hour)), versionAt(l.replica.now().Add(maxClockAhead + time.Minute))} {
		body := l.body(KindEndpoint, fmt.Sprintf("%s/%s%d", l.id, o.Key, i), o.Payload)
		body.Version = uint64(version)
		bodies = append(bodies, body)
	}
	return l.claim(bodies...)
}

// lieByCertificate shows certificates of another authority, of its own making, for
// its own key and a victim's name, with all roles, long over and not yet begun.
func lieByCertificate(l *liar, o *liarOrder) error {
	v, err := l.victim(o)
	if err != nil {
		return err
	}
	own := l.replica.table.get(ref{KindNode, string(l.id)})
	var bodies []*wire.Body
	for _, shown := range []struct {
		name string
		at   time.Time
	}{{l.cfg.Name, time.Now()}, {v.Name, time.Now()}, {l.cfg.Name, time.Now().AddDate(-2, 0, 0)}, {l.cfg.Name, time.Now().AddDate(1, 0, 0)}} {
		c, err := l.selfMade(shown.name, shown.at)
		if err != nil {
			return err
		}
		body := l.body(KindNode, string(l.id), own.Payload)
		body.Certificate = c.der
		bodies = append(bodies, body)
	}
	// Its own certificate, changed: the name, the roles, the end.
	changed := l.body(KindNode, string(l.id), own.Payload)
	changed.Certificate = slices.Clone(changed.Certificate)
	changed.Certificate[len(changed.Certificate)-1] ^= 1
	// And a name that its certificate does not have.
	info := *own.info()
	info.name = v.Name
	payload, err := info.encode()
	if err != nil {
		return err
	}
	return l.claim(append(bodies, changed, l.body(KindNode, string(l.id), payload))...)
}

// selfMade is a certificate for the liar's key by an authority of its own making.
func (l *liar) selfMade(name string, at time.Time) (c *credential, err error) {
	dir, err := os.MkdirTemp("", "liar")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ca, err := newAuthority(dir, DefaultCertificateLife, at)
	if err != nil {
		return nil, err
	}
	return ca.issue(l.key.public(), name, []Role{RoleAuthority, RoleCloud}, at)
}

// lieAboutUnderlay says that it can be reached where another node is.
func lieAboutUnderlay(l *liar, o *liarOrder) error {
	v, err := l.victim(o)
	if err != nil {
		return err
	}
	info := *l.replica.table.get(ref{KindNode, string(l.id)}).info()
	info.links = v.Links
	payload, err := info.encode()
	if err != nil {
		return err
	}
	return l.claim(l.body(KindNode, string(l.id), payload))
}

// repent says of itself what is true.
func (l *liar) repent(*liarOrder) error {
	own := l.replica.table.get(ref{KindNode, string(l.id)})
	return l.claim(l.body(KindNode, string(l.id), own.Payload))
}

// lieAboutItself claims an endpoint as the order has it, under its own id.
func lieAboutItself(l *liar, o *liarOrder) error {
	return l.claim(l.body(KindEndpoint, string(l.id)+"/"+o.Key, o.Payload))
}

// withdraw deletes such an endpoint.
func (l *liar) withdraw(o *liarOrder) error {
	body := l.body(KindEndpoint, string(l.id)+"/"+o.Key, nil)
	body.Deleted = true
	return l.claim(body)
}

// lieTooMuch says more than one node may have: tombstones that are nobody's.
func lieTooMuch(l *liar, o *liarOrder) error {
	const atOnce = 4096
	for done := 0; done < o.Count; done += atOnce {
		var envelopes []*wire.Envelope
		for i := range min(atOnce, o.Count-done) {
			body := l.body(KindEndpoint, fmt.Sprintf("%s/1/flood-%d", l.id, done+i), nil)
			body.Deleted = true
			env, err := l.sign(body)
			if err != nil {
				return err
			}
			envelopes = append(envelopes, env)
		}
		if err := l.bring(l.others(), envelopes); err != nil {
			return err
		}
	}
	return nil
}
