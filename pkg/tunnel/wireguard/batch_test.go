package wireguard

import (
	"errors"
	"maps"
	"testing"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// Many peers are there after one call, in more than one request. One that cannot
// be, and one that others have taken away, are Put's to tell of.
func TestManyPeersArePutAtOnce(t *testing.T) {
	n := newNode(t)
	n.up(t)
	want := map[tunnel.PublicKey]tunnel.Peer{}
	var all []tunnel.Peer
	for i := range batch + 3 {
		p := n.Rekey(t, tunneltest.Right)
		prefix := p.Prefix.Addr().As16()
		prefix[6], prefix[7] = byte(i>>8)+1, byte(i)
		p.Prefix = prefixFrom(prefix)
		all = append(all, p)
		want[p.PublicKey] = p
	}
	wrong := all[0]
	wrong.PublicKey[0], wrong.Keepalive = wrong.PublicKey[0]^1, -1
	batcher, ok := n.Driver.(tunnel.Batcher)
	if !ok {
		t.Fatal("the driver takes no batches")
	}
	check := func(what string) {
		t.Helper()
		if err := batcher.PutAll(t.Context(), append(all, wrong)); err != nil {
			t.Fatal(err)
		}
		got, err := n.Peers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		have := map[tunnel.PublicKey]tunnel.Peer{}
		for key, status := range got {
			have[key] = status.Peer
		}
		if !maps.Equal(have, want) {
			t.Errorf("%s: there are %d peers, want %d", what, len(have), len(want))
		}
	}
	check("new ones")
	check("the same again")
	if err := n.Put(t.Context(), all[1]); err != nil {
		t.Fatal(err)
	}
	n.space.Must(t, func() error { return takeAway(n.want.Name, all[1].PublicKey) })
	delete(want, all[1].PublicKey)
	check("one is taken away")
	if err := n.Put(t.Context(), all[1]); err != nil {
		t.Fatal(err)
	}
	want[all[1].PublicKey] = all[1]
	check("and given back")
}

// takeAway removes a peer as wg(8) does.
func takeAway(device string, key tunnel.PublicKey) error {
	client, err := wgctrl.New()
	if err != nil {
		return err
	}
	gone := wgtypes.PeerConfig{PublicKey: wgtypes.Key(key), Remove: true}
	return errors.Join(client.ConfigureDevice(device, wgtypes.Config{Peers: []wgtypes.PeerConfig{gone}}), client.Close())
}
