package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

const (
	// maxGossipKeys is how many keys a node holds at most: the one in use, and those
	// of replacements that follow each other closely.
	maxGossipKeys = 8
	// maxOfferMs bounds what another node says of a key's times, in milliseconds.
	maxOfferMs = uint32(time.Hour / time.Millisecond)
)

// overlap is how a key gives way to the next, counted on each node from when it
// hears of it: clocks are not compared.
type overlap struct {
	// use is how long the next key is only received with: as long as news may take
	// to come everywhere.
	use time.Duration
	// drop is how long the former one is received with.
	drop time.Duration
}

// After an eviction the evicted node, which has the former key, must be out in
// 5 s; who has not heard of the next one by then asks over the peer API. Else there
// is time.
var (
	evictionOverlap = overlap{use: 1500 * time.Millisecond, drop: 4 * time.Second}
	plannedOverlap  = overlap{use: 10 * time.Second, drop: 10 * time.Minute}
)

// gossipKey is one key and its times, of which zero is always and never.
type gossipKey struct {
	secret secret
	// version is that of the record which brought it, 0 for the mesh's first.
	version       Version
	useAt, dropAt time.Time
}

// keyring has a node's gossip keys. It may be used by several goroutines.
type keyring struct {
	mu sync.Mutex
	// keys are there with the newest first.
	keys []gossipKey
}

// errNoGossipKey says that a membership is not whole.
var errNoGossipKey = errors.New("no gossip key, or not a good one")

// newKeyring takes keys from the disk.
func newKeyring(held []*wire.HeldKey) (*keyring, error) {
	if len(held) == 0 || len(held) > maxGossipKeys {
		return nil, errNoGossipKey
	}
	k := &keyring{}
	for _, h := range held {
		if len(h.GetKey()) != gossipKeySize {
			return nil, errNoGossipKey
		}
		k.keys = append(k.keys, gossipKey{
			secret: secret{bytes: h.GetKey()}, version: Version(h.GetVersion()),
			useAt: instant(h.GetUseAtMs()), dropAt: instant(h.GetDropAtMs()),
		})
	}
	return k, nil
}

// held is the opposite of newKeyring.
func (k *keyring) held() []*wire.HeldKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]*wire.HeldKey, 0, len(k.keys))
	for _, one := range k.keys {
		out = append(out, &wire.HeldKey{
			Key: one.secret.bytes, Version: uint64(one.version),
			UseAtMs: milliseconds(one.useAt), DropAtMs: milliseconds(one.dropAt),
		})
	}
	return out
}

// instant and milliseconds are how a time is written down; 0 is the zero time.
func instant(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// newest returns the version of the newest key.
func (k *keyring) newest() Version {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys[0].version
}

// install adds the key of a record, if it is newer than what is there, and lets
// the others go in time.
func (k *keyring) install(key secret, v Version, now time.Time, by overlap) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if v <= k.keys[0].version {
		return false
	}
	for i := range k.keys {
		if one := &k.keys[i]; one.dropAt.IsZero() || one.dropAt.After(now.Add(by.drop)) {
			one.dropAt = now.Add(by.drop)
		}
	}
	k.keys = slices.Insert(k.keys, 0, gossipKey{secret: key, version: v, useAt: now.Add(by.use)})
	k.keys = k.keys[:min(len(k.keys), maxGossipKeys)]
	return true
}

// expire drops the keys whose time is over, and tells whether there were any. The
// newest stays.
func (k *keyring) expire(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := len(k.keys)
	newest := k.keys[0]
	k.keys = slices.DeleteFunc(k.keys, func(one gossipKey) bool {
		return one.version != newest.version && !one.dropAt.IsZero() && !now.Before(one.dropAt)
	})
	return len(k.keys) != before
}

// inUse is the key to send with: the newest whose time has come, else the oldest.
// The lock is held.
func (k *keyring) inUse(now time.Time) gossipKey {
	for _, one := range k.keys {
		if !now.Before(one.useAt) {
			return one
		}
	}
	return k.keys[len(k.keys)-1]
}

// next is when something is to be done, zero if nothing is.
func (k *keyring) next(now time.Time) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	var first time.Time
	for _, one := range k.keys {
		for _, at := range []time.Time{one.useAt, one.dropAt} {
			if at.After(now) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
	}
	return first
}

// ring makes memberlist's.
func (k *keyring) ring(now time.Time) (*memberlist.Keyring, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := make([][]byte, 0, len(k.keys))
	for _, one := range k.keys {
		keys = append(keys, one.secret.bytes)
	}
	return memberlist.NewKeyring(keys, k.inUse(now).secret.bytes)
}

// turn makes memberlist's keys these.
func (k *keyring) turn(ring *memberlist.Keyring, now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, one := range k.keys {
		if err := ring.AddKey(one.secret.bytes); err != nil {
			return fmt.Errorf("add gossip key: %w", err)
		}
	}
	var gone [][]byte
	for _, old := range ring.GetKeys() {
		if !slices.ContainsFunc(k.keys, func(one gossipKey) bool { return bytes.Equal(one.secret.bytes, old) }) {
			gone = append(gone, old)
		}
	}
	// What is used comes to the front, so that what is to go is at the end: when
	// memberlist removes a key it moves those behind it, while others read them.
	for i := 0; len(gone) > 0 && i < len(k.keys); i++ {
		if err := ring.UseKey(k.keys[i].secret.bytes); err != nil {
			return fmt.Errorf("use gossip key: %w", err)
		}
	}
	if err := ring.UseKey(k.inUse(now).secret.bytes); err != nil {
		return fmt.Errorf("use gossip key: %w", err)
	}
	for _, old := range slices.Backward(gone) {
		if err := ring.RemoveKey(old); err != nil {
			return fmt.Errorf("drop gossip key: %w", err)
		}
	}
	return nil
}

// offer is what another node gets.
func (k *keyring) offer(now time.Time) []*wire.OfferedKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	until := func(t time.Time) uint32 {
		if t.IsZero() {
			return 0
		}
		return uint32(min(max(t.Sub(now).Milliseconds(), 0), int64(maxOfferMs))) // Bounded.
	}
	out := make([]*wire.OfferedKey, 0, len(k.keys))
	for _, one := range k.keys {
		o := &wire.OfferedKey{Key: one.secret.bytes, Version: uint64(one.version), UseInMs: until(one.useAt)}
		if !one.dropAt.IsZero() {
			o.DropInMs = max(until(one.dropAt), 1)
		}
		out = append(out, o)
	}
	return out
}

// checkOffer tells whether keys that another node offers are such.
func checkOffer(keys []*wire.OfferedKey) error {
	if len(keys) == 0 || len(keys) > maxGossipKeys {
		return errNoGossipKey
	}
	for i, o := range keys {
		if len(o.GetKey()) != gossipKeySize || o.GetUseInMs() > maxOfferMs || o.GetDropInMs() > maxOfferMs {
			return errNoGossipKey
		}
		if i > 0 && o.GetVersion() >= keys[i-1].GetVersion() {
			return errNoGossipKey
		}
	}
	return nil
}

// heldFrom turns an offer that was checked into what is kept.
func heldFrom(keys []*wire.OfferedKey, now time.Time) []*wire.HeldKey {
	at := func(ms uint32) int64 {
		if ms == 0 {
			return 0
		}
		return now.Add(time.Duration(ms) * time.Millisecond).UnixMilli()
	}
	out := make([]*wire.HeldKey, 0, len(keys))
	for _, o := range keys {
		out = append(out, &wire.HeldKey{
			Key: o.GetKey(), Version: o.GetVersion(), UseAtMs: at(o.GetUseInMs()), DropAtMs: at(o.GetDropInMs()),
		})
	}
	return out
}
