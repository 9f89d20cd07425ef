package wireguard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// Names of a node's files in its folder.
const (
	keyFile     = "wireguard.key"
	nextKeyFile = "wireguard-next.key"
	// madeFile has no secrets.
	madeFile = "wireguard-made.json"
)

// Keys are this node's keys as files keep them: the one that it has, and the one
// that it goes over to. Each step is one file that gets its name at once, so that
// a process that dies between two of them leaves either the one state or the
// other.
type Keys struct {
	dir     string
	current PrivateKey
	next    PrivateKey // zero if there is none
	made    map[string]time.Time
	since   time.Time
}

// OpenKeys reads the keys in a folder, which must exist, and makes the first.
func OpenKeys(dir string) (*Keys, error) {
	k := &Keys{dir: dir, made: map[string]time.Time{}}
	var err error
	if k.current, err = LoadOrCreateKey(k.path(keyFile)); err != nil {
		return nil, err
	}
	k.next, err = loadKey(k.path(nextKeyFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if !k.next.IsZero() && !k.next.Public().Follows(k.current.Public()) {
		// Somebody has given the node another key than the one that it was made for.
		if err := k.Discard(); err != nil {
			return nil, err
		}
	}
	return k, k.date()
}

func (k *Keys) path(name string) string { return filepath.Join(k.dir, name) }

// Current is the key that the node has.
func (k *Keys) Current() PrivateKey { return k.current }

// Next is the key that the node goes over to; it is zero if there is none.
func (k *Keys) Next() PrivateKey { return k.next }

// NextPublic is what peers are going to know the node by; it is zero if there is no
// next key.
func (k *Keys) NextPublic() tunnel.PublicKey {
	if k.next.IsZero() {
		return tunnel.PublicKey{}
	}
	return k.next.Public()
}

// Since is when the current key was made.
func (k *Keys) Since() time.Time { return k.since }

// Prepare makes the next key, if there is none.
func (k *Keys) Prepare(now time.Time) error {
	if !k.next.IsZero() {
		return nil
	}
	next, err := generateAfter(k.current)
	if err != nil {
		return err
	}
	made := map[string]time.Time{dated(k.current): k.since, dated(next): now.UTC().Truncate(time.Second)}
	if err := k.storeDates(made); err != nil {
		return err
	}
	if err := storeKey(k.path(nextKeyFile), next); err != nil {
		return fmt.Errorf("store next private key: %w", err)
	}
	k.next = next
	return nil
}

// Commit makes the next key the current one. What was current is gone.
func (k *Keys) Commit() error {
	if k.next.IsZero() {
		return errors.New("replace private key: there is no next one")
	}
	if err := os.Rename(k.path(nextKeyFile), k.path(keyFile)); err != nil {
		return fmt.Errorf("replace private key: %w", err)
	}
	k.current, k.next = k.next, PrivateKey{}
	return errors.Join(syncDir(k.dir), k.date())
}

// Discard drops the next key.
func (k *Keys) Discard() error {
	if err := os.Remove(k.path(nextKeyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("discard next private key: %w", err)
	}
	k.next = PrivateKey{}
	return nil
}

// generateAfter makes a key that may follow another: every second one may.
func generateAfter(current PrivateKey) (PrivateKey, error) {
	for {
		key, err := GenerateKey()
		if err != nil || key.Public().Follows(current.Public()) {
			return key, err
		}
	}
}

// dated is what a key is called where dates are kept.
func dated(k PrivateKey) string {
	key := k.key.PublicKey()
	return key.String()
}

// date finds out when the current key was made: as was noted, or, of one that
// edgenet did not make or made before there were notes, when its file was written.
func (k *Keys) date() error {
	text, err := os.ReadFile(k.path(madeFile))
	if err == nil {
		// Notes that cannot be read are as good as none.
		_ = json.Unmarshal(text, &k.made)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read age of private key: %w", err)
	}
	if at, noted := k.made[dated(k.current)]; noted {
		k.since = at
		return nil
	}
	st, err := os.Stat(k.path(keyFile))
	if err != nil {
		return fmt.Errorf("read age of private key: %w", err)
	}
	k.since = st.ModTime().UTC().Truncate(time.Second)
	return k.storeDates(map[string]time.Time{dated(k.current): k.since})
}

// storeDates replaces the notes as a whole.
func (k *Keys) storeDates(made map[string]time.Time) error {
	text, err := json.Marshal(made)
	if err != nil {
		return fmt.Errorf("encode age of private key: %w", err)
	}
	if err := replaceFile(k.path(madeFile), append(text, '\n')); err != nil {
		return fmt.Errorf("store age of private key: %w", err)
	}
	k.made = made
	return nil
}

// replaceFile writes a whole file aside and gives it its name.
func replaceFile(path string, text []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already if all went well
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// Greet begins a handshake with each peer that has a keepalive, so that it meets the
// key that the device has now: WireGuard sends one when it is switched on.
func (d *driver) Greet(ctx context.Context) error {
	have, err := d.recent(ctx)
	if err != nil {
		return fmt.Errorf("greet peers: %w", err)
	}
	var off time.Duration
	var changes []wgtypes.PeerConfig
	for key, p := range have.peers {
		if on := p.keepalive; on > 0 {
			changes = append(changes,
				wgtypes.PeerConfig{PublicKey: wgtypes.Key(key), UpdateOnly: true, PersistentKeepaliveInterval: &off},
				wgtypes.PeerConfig{PublicKey: wgtypes.Key(key), UpdateOnly: true, PersistentKeepaliveInterval: &on})
		}
	}
	if err := d.configure(ctx, wgtypes.Config{Peers: changes}); err != nil {
		return fmt.Errorf("greet peers: %w", err)
	}
	return nil
}

// SetKey gives the device another private key, now if it is up, and whenever it is
// made again. Sessions that there are still receive; what is sent waits for new
// ones. Then is called as soon as the device has it, before anything else is done,
// and not if there is an error.
func (d *driver) SetKey(ctx context.Context, key PrivateKey, then func()) error {
	if key.IsZero() {
		return errors.New("set private key: no key")
	}
	link, err := d.find()
	if err != nil {
		return fmt.Errorf("set private key: %w", err)
	}
	if link == nil {
		d.cfg.Key = key
		then()
		return nil // Up sets it
	}
	// A call that is given up may go on; whoever is first decides.
	var decided atomic.Bool
	name := d.name
	err = d.call(ctx, func(c *wgctrl.Client) error {
		err := c.ConfigureDevice(name, wgtypes.Config{PrivateKey: &key.key})
		if err == nil && decided.CompareAndSwap(false, true) {
			then()
		}
		return err
	})
	if err != nil && decided.CompareAndSwap(false, true) {
		d.seen = nil
		return fmt.Errorf("set private key: %w", err)
	}
	d.cfg.Key = key
	if d.seen != nil {
		d.seen.privateKey = key.key
	}
	return nil
}

// Key is what peers know the device by that is there, perhaps from an earlier
// process; zero if there is none.
func (d *driver) Key(ctx context.Context) (tunnel.PublicKey, error) {
	link, err := d.find()
	if err != nil || link == nil {
		return tunnel.PublicKey{}, err
	}
	have, err := d.read(ctx)
	if err != nil || have.privateKey == (wgtypes.Key{}) {
		return tunnel.PublicKey{}, err
	}
	return tunnel.PublicKey(have.privateKey.PublicKey()), nil
}

// find returns the device's link; nil if there is none.
func (d *driver) find() (netlink.Link, error) {
	if d.name == "" {
		return nil, nil
	}
	return device.Find(d.name)
}
