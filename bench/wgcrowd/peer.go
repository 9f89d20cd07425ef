package wgcrowd

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"
)

// Peer is one of the crowd.
type Peer struct {
	// PublicKey is what the device has to know it by.
	PublicKey [32]byte
	// Prefix is its /64 inside the tunnel.
	Prefix netip.Prefix
	// Endpoint is where it listens.
	Endpoint netip.AddrPort

	tun    *tuntest.ChannelTUN
	device *device.Device
}

// Target is the device that a crowd talks to.
type Target struct {
	PublicKey [32]byte
	Endpoint  netip.AddrPort
	// Addr answers echo requests inside the tunnel.
	Addr netip.Addr
}

// New makes a peer that will listen there. It is silent until Up.
func New(at netip.AddrPort, prefix netip.Prefix, to Target) (*Peer, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	p := &Peer{Endpoint: at, PublicKey: [32]byte(key.PublicKey().Bytes()), Prefix: prefix, tun: tuntest.NewChannelTUN()}
	p.device = device.NewDevice(p.tun.TUN(), &bind{at: at}, device.NewLogger(device.LogLevelSilent, ""))
	err = p.device.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=%s\nallowed_ip=::/0\n",
		hex.EncodeToString(key.Bytes()), hex.EncodeToString(to.PublicKey[:]), to.Endpoint))
	if err != nil {
		p.device.Close()
		return nil, fmt.Errorf("make WireGuard peer: %w", err)
	}
	return p, nil
}

// Up has it listen, in the network namespace of the thread that calls it.
func (p *Peer) Up() error {
	if err := p.device.Up(); err != nil {
		return fmt.Errorf("bring up WireGuard peer: %w", err)
	}
	return nil
}

// Close ends it.
func (p *Peer) Close() { p.device.Close() }

// answerTime bounds the wait for one answer. WireGuard tries a handshake again
// after five seconds.
const answerTime = 20 * time.Second

// Ask sends as many echo requests of a size in bytes as wanted, at most window of
// them unanswered, and returns when the last one's answer is there. The first
// waits for the handshake.
func (p *Peer) Ask(to netip.Addr, size, count, window int) error {
	limit := time.NewTimer(answerTime)
	defer limit.Stop()
	request := echoRequest(p.Prefix.Addr().Next(), to, size)
	for sent, answered := 0, 0; answered < count; {
		var out chan []byte
		if sent < count && sent-answered < window {
			out = p.tun.Outbound
		}
		select {
		case out <- request:
			sent++
		case got := <-p.tun.Inbound:
			if isEchoReply(got) {
				answered++
			}
		case <-limit.C:
			return fmt.Errorf("ask %s: %d of %d requests answered within %s", to, answered, count, answerTime)
		}
	}
	return nil
}
