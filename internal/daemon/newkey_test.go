package daemon

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// keyedDevice is a driver whose device has a key, which outlives it.
type keyedDevice struct {
	tunnel.Driver

	has    *tunnel.PublicKey
	gave   []tunnel.PublicKey
	broken error
}

func (k *keyedDevice) SetKey(_ context.Context, key wireguard.PrivateKey, then func()) error {
	if k.broken != nil {
		return k.broken
	}
	*k.has = key.Public()
	k.gave = append(k.gave, key.Public())
	then()
	return nil
}

func (k *keyedDevice) Key(context.Context) (tunnel.PublicKey, error) { return *k.has, k.broken }

func (k *keyedDevice) Greet(context.Context) error { return nil }

// A daemon may have died between giving the device the next key and noting it. The
// next one leaves the device as it is, and marks packets as those of the key that
// the device has: the one that the files call the current one was the one before.
func TestADeviceWithTheNextKeyKeepsIt(t *testing.T) {
	dir := t.TempDir()
	open := func() *wireguard.Keys {
		keys, err := wireguard.OpenKeys(dir)
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	first := open()
	if err := first.Prepare(time.Now()); err != nil {
		t.Fatal(err)
	}
	before, next := first.Current().Public(), first.NextPublic()
	for name, c := range map[string]struct {
		has    tunnel.PublicKey
		broken error
		marks  tunnel.PublicKey
		gave   int
	}{
		"it was changed":            {has: next, marks: next, gave: 1},
		"it was not changed":        {has: before, marks: before},
		"there is no device":        {marks: before},
		"it has another's":          {has: lowerKey2, marks: before},
		"what it has is not to see": {has: next, broken: errors.New("it does not answer"), marks: before},
	} {
		keys := open()
		driver := &keyedDevice{has: &c.has, broken: c.broken}
		r := &rotation{keys: keys, device: keys.Current().Public(), log: slog.New(slog.DiscardHandler)}
		r.adopt(t.Context(), &carrier{driver: driver})
		if r.device != c.marks || len(driver.gave) != c.gave {
			t.Errorf("%s: packets are those of %v, want %v; the driver was given %v", name, r.device, c.marks, driver.gave)
		}
		if keys.Current().Public() != before || keys.NextPublic() != next {
			t.Errorf("%s: the files have other keys: what was begun is not ended in order", name)
		}
	}
}
