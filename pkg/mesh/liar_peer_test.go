package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// peerLies are told over the peer API.
var peerLies = map[string]lie{
	"joins":                lieByJoins,
	"huge requests":        lieByRequests,
	"connections":          lieByConnections,
	"calls that never end": lieByCalls,
}

// bring brings records to some nodes over the peer API.
func (l *liar) bring(to []Node, envelopes []*wire.Envelope) error {
	for _, n := range to {
		ctx, cancel := context.WithTimeout(context.Background(), syncTimeout)
		_, err := l.exchange(ctx, PeerURL(n.ID), &wire.SyncRequest{Records: envelopes})
		cancel()
		if err != nil {
			return fmt.Errorf("tell %s: %w", n.Name, err)
		}
		l.said += len(envelopes)
	}
	return nil
}

// lieByJoins asks to be admitted by a token that was used, and by one that was
// changed.
func lieByJoins(l *liar, o *liarOrder) error {
	forged, err := parseToken(o.Token)
	if err != nil {
		return err
	}
	forged.secret.bytes[0] ^= 1
	text, err := forged.format()
	if err != nil {
		return err
	}
	for _, try := range []struct {
		token string
		want  error
	}{{o.Token, ErrTokenUsedUp}, {text, ErrTokenUnknown}} {
		err := l.joins(try.token)
		if err == nil {
			return fmt.Errorf("join by a bad token: it is taken")
		}
		if !errors.Is(err, try.want) {
			return fmt.Errorf("join by a bad token: it should be %w: %w", try.want, err)
		}
		l.said++
	}
	return nil
}

// joins joins with a new key.
func (l *liar) joins(token string) (err error) {
	dir, err := os.MkdirTemp("", "liar")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m, err := Open(Config{StateDir: dir, Name: "second", Links: []Link{{Addr: l.cfg.Underlay}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	ctx, cancel := context.WithTimeout(context.Background(), syncTimeout)
	defer cancel()
	return m.Join(ctx, token)
}

// lieByRequests sends what is too large, has too many parts, or is none.
func lieByRequests(l *liar, _ *liarOrder) error {
	for _, n := range l.others() {
		for what, body := range map[string][]byte{
			"too large": make([]byte, maxSyncBody+1), "nonsense": bytes.Repeat([]byte{0xff}, 1<<16),
			"very many parts": bytes.Repeat([]byte{3<<3 | 2, 0}, 1<<20), "digests of a few buckets": {1<<3 | 2, 8, 0, 0, 0, 0, 0, 0, 0, 0},
		} {
			resp, err := l.PeerClient(n.ID).Post(PeerURL(n.ID)+pathSync, messageType, bytes.NewReader(body))
			if err != nil {
				// A server that has read enough may end the call before it is all sent.
				l.said++
				continue
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest {
				return fmt.Errorf("%s answers a request that is %s with %s", n.Name, what, resp.Status)
			}
			l.said++
		}
	}
	return nil
}

// lieByConnections opens connections to the peer API and to gossip and says nothing
// on them, until the end.
func lieByConnections(l *liar, o *liarOrder) error {
	for _, n := range l.others() {
		gossip, _ := l.gossipAddrPort(n.ID)
		for _, to := range []netip.AddrPort{gossip, l.peerAddrs(n.ID)[0]} {
			for range o.Count {
				conn, err := net.DialTimeout("tcp", to.String(), dialTimeout)
				if err != nil {
					return err
				}
				l.open = append(l.open, conn)
				l.said++
			}
		}
	}
	return nil
}

// lieByCalls begins calls whose requests do not end, as many as it likes.
func lieByCalls(l *liar, o *liarOrder) error {
	for _, n := range l.others() {
		for range o.Count {
			r, w, err := os.Pipe()
			if err != nil {
				return err
			}
			l.open = append(l.open, w)
			go func() {
				resp, err := l.PeerClient(n.ID).Post(PeerURL(n.ID)+pathSync, messageType, r)
				if err == nil {
					_ = resp.Body.Close()
				}
				_ = r.Close()
			}()
			if _, err := w.Write([]byte{2<<3 | 2}); err != nil {
				return err
			}
			l.said++
		}
	}
	return nil
}
