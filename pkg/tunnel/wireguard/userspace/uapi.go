package userspace

import (
	"bufio"
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"

	"edgenet.dev/edgenet/pkg/tunnel"
)

const (
	setRequest = "set=1\n"
	keyLine    = "private_key="
	// maxKeyRequest bounds a request that begins with a private key, in bytes: a
	// configuration of some thousand peers.
	maxKeyRequest = 4 << 20
)

// answerUAPI serves a connection. Requests that begin with a private key, as those of
// all clients do that have one, are made while no packet passes; from the first other
// one on, all are wireguard-go's own affair. Clients make one on a connection.
func answerUAPI(c net.Conn, dev *device.Device, tun *halved) {
	r := bufio.NewReader(c)
	for isKeyRequest(r) {
		err := setKey(r, dev, tun)
		if _, failed := fmt.Fprintf(c, "errno=%d\n\n", errno(err)); failed != nil {
			_ = c.Close()
			return
		}
	}
	dev.IpcHandle(buffered{c, r}) // which closes it
}

// buffered is a connection of which something was read ahead.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// isKeyRequest looks at what comes next, no farther than it could be one.
func isKeyRequest(r *bufio.Reader) bool {
	const begin = setRequest + keyLine
	for n := 1; n <= len(begin); n++ {
		ahead, err := r.Peek(n)
		if err != nil || ahead[n-1] != begin[n-1] {
			return false
		}
	}
	return true
}

// setKey makes a request that begins with a private key. All of it is read before:
// no packet waits for a client.
func setKey(r io.Reader, dev *device.Device, tun *halved) error {
	request, err := readRequest(r)
	if err != nil {
		return err
	}
	text := strings.TrimPrefix(request, setRequest)
	first, rest, _ := strings.Cut(text, "\n")
	key, err := publicKey(strings.TrimPrefix(first, keyLine))
	if err != nil { // wireguard-go says what is wrong with it, or takes a key away
		return dev.IpcSet(text)
	}
	// wireguard-go goes by each line as it reads it: it has the key even if it refuses
	// what follows, so that is a request of its own.
	var refused error
	err = tun.change(key.Upper(), func() error {
		if err := dev.IpcSet(first + "\n\n"); err != nil {
			return err
		}
		refused = dev.IpcSet(rest)
		return nil
	})
	return errors.Join(err, refused)
}

// readRequest reads until the empty line that ends a request.
func readRequest(r io.Reader) (string, error) {
	var text bytes.Buffer
	one := make([]byte, 1) // of a buffer
	for !bytes.HasSuffix(text.Bytes(), []byte("\n\n")) {
		if text.Len() >= maxKeyRequest {
			return "", errors.New("request is too long")
		}
		if _, err := io.ReadFull(r, one); err != nil {
			return "", fmt.Errorf("read request: %w", err)
		}
		text.Write(one)
	}
	return text.String(), nil
}

// publicKey is that of a private key in hexadecimal digits.
func publicKey(digits string) (tunnel.PublicKey, error) {
	raw, err := hex.DecodeString(digits)
	if err != nil {
		return tunnel.PublicKey{}, errors.New("private key is not in hexadecimal digits")
	}
	private, err := ecdh.X25519().NewPrivateKey(raw)
	if err != nil || bytes.Equal(raw, make([]byte, len(raw))) {
		return tunnel.PublicKey{}, errors.New("private key is none")
	}
	return tunnel.PublicKey(private.PublicKey().Bytes()), nil
}

// errno is what the protocol calls an error.
func errno(err error) int64 {
	var failed *device.IPCError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &failed):
		return failed.ErrorCode()
	}
	return ipc.IpcErrorUnknown
}
