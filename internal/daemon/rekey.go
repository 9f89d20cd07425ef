package daemon

import (
	"context"
	"fmt"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel/ipsec"
)

const (
	// rekeyPace is the time between two looks at whether keys were replaced, and
	// rekeyWait how long that may take: a peer that does not answer is asked again
	// after four seconds.
	rekeyPace = 100 * time.Millisecond
	rekeyWait = 10 * time.Second
)

// rekeyer is a driver whose sessions have keys that can be replaced at any time.
type rekeyer interface {
	Rekey(ctx context.Context) ([]ipsec.Rekeying, error)
	Old(ctx context.Context, begun []ipsec.Rekeying) ([]ipsec.Rekeying, error)
}

// rekey replaces the keys of all SAs, and waits for that. It returns how many IKE
// SAs were begun with.
func (t *tunnels) rekey(ctx context.Context) (count uint32, problems []error) {
	for _, c := range t.all() {
		driver, ok := c.driver.(rekeyer)
		if !ok {
			continue
		}
		begun, err := t.beginRekey(ctx, c, driver)
		if err != nil {
			problems = append(problems, err)
		}
		count += uint32(len(begun))
		if err := t.awaitRekeyed(ctx, driver, begun); err != nil {
			problems = append(problems, err)
		}
	}
	return count, problems
}

func (t *tunnels) beginRekey(ctx context.Context, c *carrier, driver rekeyer) ([]ipsec.Rekeying, error) {
	t.round.Lock()
	defer t.round.Unlock()
	if c.device.Name == "" {
		return nil, nil
	}
	return driver.Rekey(ctx)
}

func (t *tunnels) awaitRekeyed(ctx context.Context, driver rekeyer, begun []ipsec.Rekeying) error {
	deadline := time.Now().Add(rekeyWait)
	for len(begun) > 0 {
		t.round.Lock()
		old, err := driver.Old(ctx, begun)
		t.round.Unlock()
		switch {
		case err != nil:
			return err
		case len(old) > 0 && time.Now().After(deadline):
			return fmt.Errorf("keys of %d IKE SAs were not replaced within %s", len(old), rekeyWait)
		}
		if begun = old; len(begun) > 0 && !pause(ctx, rekeyPace) {
			return ctx.Err()
		}
	}
	return nil
}
