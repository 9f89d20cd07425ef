package daemon

import (
	"encoding/base64"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/ipsec"
)

// apiEnds is what a node takes tunnels with: all that has to be known of it to
// make one by hand. What it did not announce, or not well, is nil.
func apiEnds(n mesh.Node) (*api.WireGuardEnd, *api.IPsecEnd) {
	a, err := records.DecodeAnnouncement(n.Announcement)
	if err != nil {
		return nil, nil
	}
	var wireguard *api.WireGuardEnd
	if w := a.GetWireguard(); w != nil {
		wireguard = &api.WireGuardEnd{PublicKey: base64.StdEncoding.EncodeToString(w.GetPublicKey()), Port: w.GetPort()}
	}
	if a.GetIpsec() == nil || len(n.PublicKey) != len(tunnel.PublicKey{}) {
		return wireguard, nil
	}
	key := tunnel.PublicKey(n.PublicKey)
	id, err := ipsec.Identity(key)
	if err != nil {
		return wireguard, nil
	}
	text, err := ipsec.PublicPEM(key)
	if err != nil {
		return wireguard, nil
	}
	return wireguard, &api.IPsecEnd{Id: id, PublicKey: text, Port: a.GetIpsec().GetPort()}
}
