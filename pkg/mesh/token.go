package mesh

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// The form and the limits of a join token.
const (
	tokenPrefix    = "edgenet1."
	tokenMaxLength = 2048
	tokenIDSize    = 8
	tokenSecret    = 32
	tokenMaxSeeds  = 16
)

// token is a parsed join token.
type token struct {
	// fingerprint of the authority's key: who the joiner will believe.
	fingerprint [sha256.Size]byte
	seeds       []netip.AddrPort
	id          [tokenIDSize]byte
	secret      secret
	// expires is a hint: the authority decides by its own clock.
	expires time.Time
}

// format returns the token as people carry it.
func (t *token) format() (string, error) {
	m := &wire.Token{
		Fingerprint: t.fingerprint[:], Id: t.id[:], Secret: t.secret.bytes, Expires: t.expires.Unix(),
	}
	for _, s := range t.seeds {
		m.Seeds = append(m.Seeds, s.String())
	}
	b, err := wire.Marshal(m)
	if err != nil {
		return "", err
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b), nil
}

// parseToken takes a token apart. Every error wraps ErrTokenMalformed, and
// none says a part of the token.
func parseToken(text string) (*token, error) {
	body, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok || len(text) > tokenMaxLength {
		return nil, fmt.Errorf("%w: it must begin with %q", ErrTokenMalformed, tokenPrefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil || strings.ContainsAny(body, "\r\n") { // The decoder skips line ends.
		return nil, fmt.Errorf("%w: it is not base64url", ErrTokenMalformed)
	}
	var m wire.Token
	if err := wire.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%w: its content is damaged", ErrTokenMalformed)
	}
	t := &token{secret: secret{bytes: m.GetSecret()}, expires: time.Unix(m.GetExpires(), 0)}
	if len(m.GetFingerprint()) != len(t.fingerprint) || len(m.GetId()) != len(t.id) ||
		len(m.GetSecret()) != tokenSecret || m.GetExpires() <= 0 ||
		len(m.GetSeeds()) == 0 || len(m.GetSeeds()) > tokenMaxSeeds {
		return nil, fmt.Errorf("%w: a part is missing", ErrTokenMalformed)
	}
	copy(t.fingerprint[:], m.GetFingerprint())
	copy(t.id[:], m.GetId())
	for _, s := range m.GetSeeds() {
		seed, err := netip.ParseAddrPort(s)
		if err != nil || seed.Port() == 0 || seed.String() != s {
			return nil, fmt.Errorf("%w: an address is damaged", ErrTokenMalformed)
		}
		t.seeds = append(t.seeds, seed)
	}
	return t, nil
}

// grantKey is what the authority keeps of a token's secret. With it proofs can
// be made, so it is guarded like the authority's other keys; the secret itself
// never crosses the network and cannot be had from it.
func grantKey(s secret) secret {
	sum := sha256.Sum256(append([]byte("edgenet token v1\x00"), s.bytes...))
	return secret{bytes: sum[:]}
}

// joinProof shows knowledge of a token's key on one TLS channel for one
// certificate request: replayed elsewhere it proves nothing.
func joinProof(key secret, channel, tokenID, request []byte) []byte {
	mac := hmac.New(sha256.New, key.bytes)
	mac.Write([]byte("edgenet join v1\x00"))
	// Channel and id have fixed lengths, so the parts cannot be shifted.
	mac.Write(channel)
	mac.Write(tokenID)
	mac.Write(request)
	return mac.Sum(nil)
}
