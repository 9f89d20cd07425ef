package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"
)

// transfer sends messages and compares their echoes.
func transfer(args TransferArgs) (err error) {
	if args.Network != "tcp" && args.Network != "udp" {
		return fmt.Errorf("transfer over %s: not tcp or udp", args.Network)
	}
	ctx, cancel := context.WithTimeout(context.Background(), args.Timeout)
	defer cancel()
	conn, err := dial(ctx, args.Network, netip.AddrPortFrom(args.Target, args.Port).String())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	exchange := exchangeUDP
	if args.Network == "tcp" {
		reader := bufio.NewReader(conn)
		if _, err := reader.ReadString('\n'); err != nil {
			return fmt.Errorf("read greeting: %w", err)
		}
		exchange = func(conn net.Conn, message, echo []byte) error {
			return exchangeTCP(conn, reader, message, echo)
		}
	}
	message, echo := make([]byte, args.Size), make([]byte, args.Size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(message) // it never fails
	for number := range args.Count {
		if err := exchange(conn, message, echo); err != nil {
			return fmt.Errorf("message %d: %w", number, err)
		}
		if !bytes.Equal(message, echo) {
			return fmt.Errorf("message %d came back changed", number)
		}
	}
	return nil
}

// exchangeTCP writes and reads at once: the echo starts before the end is sent.
func exchangeTCP(conn net.Conn, reader io.Reader, message, echo []byte) error {
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(message)
		written <- err
	}()
	_, err := io.ReadFull(reader, echo)
	return errors.Join(err, <-written)
}

// udpTries is how often a datagram is sent before it counts as lost for good.
const udpTries = 3

func exchangeUDP(conn net.Conn, message, echo []byte) error {
	var err error
	for range udpTries {
		if err = conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		if _, err = conn.Write(message); err != nil {
			return err
		}
		var n int
		if n, err = conn.Read(echo); err == nil {
			if n != len(message) {
				return fmt.Errorf("%d bytes came back of %d", n, len(message))
			}
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return err
}
