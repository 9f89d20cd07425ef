package mesh

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

const (
	// maxSharedTokens and maxSharedBytes bound the tokens of one exchange.
	maxSharedTokens = 10000
	maxSharedBytes  = 6 << 20
)

// errSharedToken says that another authority has sent something else than a token.
var errSharedToken = errors.New("not what an authority keeps of a token")

// sharedTokens are what other authorities need of the tokens that are still good:
// of one, or of all, those made last first where there are too many.
func (db *database) sharedTokens(only []byte, now time.Time) ([]*wire.SharedToken, error) {
	var out []*wire.SharedToken
	err := db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketTokens).ForEach(func(k, v []byte) error {
			if len(only) > 0 && !bytes.Equal(k, only) {
				return nil
			}
			g := &wire.Grant{}
			if err := proto.Unmarshal(v, g); err != nil {
				return fmt.Errorf("decode token: %w", err)
			}
			if now.Before(time.Unix(g.GetExpires(), 0)) {
				out = append(out, &wire.SharedToken{Id: slices.Clone(k), Grant: g})
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	slices.SortStableFunc(out, func(a, b *wire.SharedToken) int {
		return int(b.GetGrant().GetExpires() - a.GetGrant().GetExpires())
	})
	size := 0
	for i, s := range out {
		if size += proto.Size(s) + 16; size > maxSharedBytes || i == maxSharedTokens {
			return out[:i], nil
		}
	}
	return out, nil
}

// mergeTokens takes the tokens of another authority: a token is good for as many
// nodes as it says, whoever admits them.
func (db *database) mergeTokens(shared []*wire.SharedToken, now time.Time) error {
	if len(shared) == 0 {
		return nil
	}
	if len(shared) > maxSharedTokens {
		return errSharedToken
	}
	for _, s := range shared {
		if err := checkShared(s, now); err != nil {
			return err
		}
	}
	changed, err := db.newTokens(shared)
	if err != nil || !changed {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, s := range shared {
			if err := mergeToken(tx, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write database %s: %w", db.Path(), err)
	}
	return nil
}

// newTokens tells whether anything in them is news: most exchanges bring none, and
// none is written for them.
func (db *database) newTokens(shared []*wire.SharedToken) (bool, error) {
	news := false
	err := db.View(func(tx *bbolt.Tx) error {
		for _, s := range shared {
			merged, err := merge(tx, s)
			if err != nil {
				return err
			}
			news = news || merged != nil
		}
		return nil
	})
	return news, err
}

// merge returns what a token becomes with another authority's knowledge of it, nil if
// it stays as it is.
func merge(tx *bbolt.Tx, s *wire.SharedToken) (*wire.Grant, error) {
	b := tx.Bucket(bucketTokens).Get(s.GetId())
	if b == nil {
		return s.GetGrant(), nil
	}
	known := &wire.Grant{}
	if err := proto.Unmarshal(b, known); err != nil {
		return nil, fmt.Errorf("decode token: %w", err)
	}
	if !bytes.Equal(known.GetKey(), s.GetGrant().GetKey()) {
		return nil, nil // Whoever made it first knows better.
	}
	admitted := make(map[string]bool, len(known.GetAdmitted()))
	for _, id := range known.GetAdmitted() {
		admitted[id] = true
	}
	before := len(admitted)
	for _, id := range s.GetGrant().GetAdmitted() {
		if !admitted[id] && len(known.GetAdmitted()) < MaxTokenUses {
			admitted[id] = true
			known.Admitted = append(known.Admitted, id)
		}
	}
	if len(admitted) == before {
		return nil, nil
	}
	return known, nil
}

func mergeToken(tx *bbolt.Tx, s *wire.SharedToken) error {
	merged, err := merge(tx, s)
	if err != nil || merged == nil {
		return err
	}
	b, err := wire.Marshal(merged)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketTokens).Put(s.GetId(), b)
}

// checkShared tells whether something is what an authority keeps of a token.
func checkShared(s *wire.SharedToken, now time.Time) error {
	g := s.GetGrant()
	expires := time.Unix(g.GetExpires(), 0)
	if len(s.GetId()) != tokenIDSize || len(g.GetKey()) != sha256.Size || g.GetUses() == 0 || g.GetUses() > MaxTokenUses ||
		len(g.GetAdmitted()) > MaxTokenUses || expires.After(now.Add(MaxTokenTTL+clockTolerance)) {
		return errSharedToken
	}
	for i, r := range g.GetRoles() {
		if !validRole(Role(r)) || slices.Contains(g.GetRoles()[:i], r) {
			return errSharedToken
		}
	}
	for _, id := range g.GetAdmitted() {
		if !NodeID(id).Valid() {
			return errSharedToken
		}
	}
	return nil
}
