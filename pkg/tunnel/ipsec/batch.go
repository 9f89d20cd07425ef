package ipsec

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/strongswan/govici/vici"

	"edgenet.dev/edgenet/pkg/tunnel"
)

var _ tunnel.Batcher = (*driver)(nil)

const (
	// speakers is how many conversations with charon go on at once: it answers each
	// of them in turn, by a thread of its own, and has 16 of those.
	speakers = 6
	// batch is how many peers one conversation is about, so that callTimeout is
	// enough for it, also on an emulated processor.
	batch = 32
)

// loading is a peer that charon is told of, and what became of that.
type loading struct {
	peer   tunnel.Peer
	conn   conn
	begins bool
	// load and initiate are the requests.
	load, initiate *vici.Message
	loaded, begun  bool
}

// PutAll implements tunnel.Batcher. What Put would have to look at more closely is
// left to it: peers with SAs, and such whose prefix another one has.
func (d *driver) PutAll(ctx context.Context, want []tunnel.Peer) error {
	if err := d.putAll(ctx, want); err != nil {
		return fmt.Errorf("put %d peers: %w", len(want), err)
	}
	return nil
}

func (d *driver) putAll(ctx context.Context, want []tunnel.Peer) error {
	if d.device.Name == "" {
		return errNotUp
	}
	s, err := d.recent(ctx)
	if err != nil {
		return err
	}
	fresh, err := d.unknown(s, want)
	if err != nil {
		return err
	}
	if len(fresh) == 0 { // then charon says nothing
		return nil
	}
	if d.mute {
		return errMute
	}
	asked := d.now()
	err = d.tell(ctx, fresh)
	d.hear(asked, err)
	count := 0
	for _, l := range fresh {
		key := l.peer.PublicKey
		if l.loaded {
			s.conns[key], d.asked[key] = l.conn, l.peer
			count++
		}
		if l.begun {
			d.tried[key], d.alone[key] = asked, asked
		}
	}
	d.log.Debug("peers configured", "device", d.device.Name, "count", count)
	return err
}

// unknown are those peers of which charon knows nothing yet, with what it is to be
// told.
func (d *driver) unknown(s *snapshot, want []tunnel.Peer) ([]*loading, error) {
	ids, err := d.requestIDs(s)
	if err != nil {
		return nil, err
	}
	taken := s.prefixes()
	var out []*loading
	for _, p := range want {
		_, known := s.conns[p.PublicKey]
		_, asked := d.asked[p.PublicKey]
		if known || asked || len(s.sas[p.PublicKey]) > 0 || taken[p.Prefix] || d.validatePeer(p) != nil {
			continue
		}
		taken[p.Prefix] = true
		p.Endpoint = netip.AddrPortFrom(p.Endpoint.Addr().Unmap(), p.Endpoint.Port())
		l, err := d.newLoading(p, ids.next(p.Prefix))
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func (d *driver) newLoading(p tunnel.Peer, reqID uint32) (*loading, error) {
	c, err := d.local().config(p, reqID)
	if err != nil {
		return nil, err
	}
	name, _ := c.child()
	child, _ := parseChildName(name)
	l := &loading{peer: p, conn: conn{child: child, endpoint: p.Endpoint, prefix: p.Prefix, keepalive: wholeSeconds(p.Keepalive)}}
	if l.load, err = vici.MarshalMessage(map[string]ikeConfig{connName(p.PublicKey): c}); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	if l.initiate, err = initiation(p.PublicKey, child); err != nil {
		return nil, err
	}
	l.begins = !p.Rest && d.turn(p.PublicKey, l.conn).decide(nil).begin
	return l, nil
}

// tell has charon told of peers, in several conversations at once.
func (d *driver) tell(ctx context.Context, peers []*loading) error {
	work := make(chan []*loading)
	errs := make([]error, speakers)
	var all sync.WaitGroup
	for i := range speakers {
		all.Go(func() {
			for some := range work {
				if errs[i] == nil {
					errs[i] = tellSome(ctx, d.dir, some)
				}
			}
		})
	}
	for some := range slices.Chunk(peers, batch) {
		work <- some
	}
	close(work)
	all.Wait()
	return errors.Join(errs...)
}

func tellSome(ctx context.Context, dir string, peers []*loading) error {
	return talk(ctx, dir, func(s *vici.Session) error {
		for _, l := range peers {
			if _, err := s.CommandRequest("load-conn", l.load); err != nil {
				return fmt.Errorf("load-conn: %w", err)
			}
			l.loaded = true
			if !l.begins {
				continue
			}
			if _, err := s.CommandRequest("initiate", l.initiate); err != nil {
				return fmt.Errorf("initiate: %w", err)
			}
			l.begun = true
		}
		return nil
	})
}

// wholeSeconds rounds up, as strongSwan has no fractions of a second.
func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}
