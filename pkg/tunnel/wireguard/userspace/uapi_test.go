package userspace

import (
	"bufio"
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// client is one of the UAPI socket of a device that has no network.
type client struct {
	net.Conn
	r *bufio.Reader
}

func (c client) asks(t *testing.T, request string) string {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	var answer strings.Builder
	for !strings.HasSuffix(answer.String(), "\n\n") {
		line, err := c.r.ReadString('\n')
		if err != nil {
			t.Fatalf("%q is answered by %q, %v", request, answer.String(), err)
		}
		answer.WriteString(line)
	}
	return answer.String()
}

func newClient(t *testing.T) (client, *halved) {
	t.Helper()
	tun := newHalved(tuntest.NewChannelTUN().TUN())
	dev := device.NewDevice(tun, conn.NewDefaultBind(), logger(slog.New(slog.DiscardHandler)))
	t.Cleanup(dev.Close)
	here, there := net.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); answerUAPI(there, dev, tun) }()
	t.Cleanup(func() { _ = here.Close(); <-done })
	if err := here.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return client{here, bufio.NewReader(here)}, tun
}

// A key that is set tells the half; all else is as wireguard-go answers it, on the same
// connection.
func TestAKeyTellsItsHalf(t *testing.T) {
	c, _ := newClient(t)
	if got := c.asks(t, "get=1\n\n"); !strings.HasSuffix(got, "errno=0\n\n") {
		t.Errorf("asked for what there is it says %q", got)
	}
	c, tun := newClient(t) // which has asked for nothing else
	for range 8 {
		private, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		digits := hex.EncodeToString(private.Bytes())
		if got := c.asks(t, fmt.Sprintf("set=1\nprivate_key=%s\nfwmark=0\n\n", digits)); got != "errno=0\n\n" {
			t.Fatalf("setting a key is answered by %q", got)
		}
		if want := tunnel.PublicKey(private.PublicKey().Bytes()).Upper(); !tun.known || tun.upper != want {
			t.Errorf("packets say the upper half: %t, known %t, want %t", tun.upper, tun.known, want)
		}
	}
	upper := tun.upper
	for _, bad := range []string{"zz", "", strings.Repeat("ab", 31), strings.Repeat("ab", 33)} {
		if got := c.asks(t, "set=1\nprivate_key="+bad+"\n\n"); got != "errno=-22\n\n" {
			t.Errorf("the key %q is answered by %q", bad, got)
		}
	}
	if got := c.asks(t, "set=1\nprivate_key="+strings.Repeat("00", 32)+"\n\n"); got != "errno=0\n\n" || tun.upper != upper {
		t.Errorf("taking the key away is answered by %q", got)
	}
	if got := c.asks(t, "set=1\nlisten_port=0\n\n"); got != "errno=0\n\n" {
		t.Errorf("setting something else is answered by %q", got)
	}
	if got := c.asks(t, "get=1\n\n"); !strings.HasSuffix(got, "errno=0\n\n") {
		t.Errorf("asked for what there is it says %q", got)
	}
}

// wireguard-go has a key by the time it refuses what follows, and packets say its half.
func TestAKeyTellsItsHalfThoughMoreIsRefused(t *testing.T) {
	c, tun := newClient(t)
	for _, upper := range []bool{true, false, true} {
		digits := keyOf(t, upper)
		if got := c.asks(t, "set=1\nprivate_key="+digits+"\nlisten_port=no\n\n"); got != "errno=-22\n\n" {
			t.Errorf("a key and a port that is none are answered by %q", got)
		}
		if got := c.asks(t, "set=1\nprivate_key="+digits+"\nprotocol_version=1\n\n"); got != "errno=-22\n\n" {
			t.Errorf("a key and a line that is none are answered by %q", got)
		}
		if !tun.known || tun.upper != upper {
			t.Errorf("packets say the upper half: %t, known %t, want %t", tun.upper, tun.known, upper)
		}
	}
	if got := c.asks(t, "get=1\n\n"); !strings.HasPrefix(got, keyLine) || !strings.HasSuffix(got, "errno=0\n\n") {
		t.Errorf("asked for what there is it says %q", got)
	}
}

// keyOf is a private key of a half, in hexadecimal digits.
func keyOf(t *testing.T, upper bool) string {
	t.Helper()
	for {
		private, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if tunnel.PublicKey(private.PublicKey().Bytes()).Upper() == upper {
			return hex.EncodeToString(private.Bytes())
		}
	}
}

func TestARequestHasAnEnd(t *testing.T) {
	text := setRequest + keyLine + "00\n\n"
	r := bufio.NewReader(strings.NewReader(text + "get=1\n\n"))
	if !isKeyRequest(r) {
		t.Error("a request with a key is not known")
	}
	if got, err := readRequest(r); got != text || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if isKeyRequest(r) {
		t.Error("a request without a key is taken for one")
	}
	if _, err := readRequest(strings.NewReader("set=1\n")); err == nil {
		t.Error("half a request is one")
	}
	if _, err := readRequest(bytes.NewReader(bytes.Repeat([]byte("a=b\n"), maxKeyRequest))); err == nil {
		t.Error("a request without an end is one")
	}
}
