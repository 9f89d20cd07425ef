package agent

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// serveNetwork starts the asked server on every address of the namespace,
// of both families.
func serveNetwork(args ServeArgs) error {
	address := fmt.Sprintf(":%d", args.Port)
	switch args.Network {
	case "tcp":
		return serveTCP(address, args.Answer)
	case "udp":
		return serveUDP(address, args.Answer)
	case "http":
		return serveHTTP(address, args.Answer)
	case "sink":
		return serveSink(address)
	default:
		return fmt.Errorf("serve %s: not tcp, udp, http or sink", args.Network)
	}
}

// serveTCP tells every connection the answer, then echoes what it says.
func serveTCP(address, answer string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go echo(conn, answer)
		}
	}()
	return nil
}

// echo serves one connection until either side ends it.
func echo(conn net.Conn, answer string) {
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, answer+"\n"); err != nil {
		return
	}
	// What goes wrong here is what the scenario is about; its client tells.
	_, _ = io.Copy(conn, conn)
}

// question is the datagram that asks a udp server for its answer.
const question = "who"

// serveUDP answers the question, and echoes every other datagram.
func serveUDP(address, answer string) error {
	return serveDatagrams(address, func(datagram []byte) []byte {
		if string(datagram) == question {
			return []byte(answer)
		}
		return datagram
	})
}

// serveSink reads datagrams and says nothing.
func serveSink(address string) error {
	return serveDatagrams(address, func([]byte) []byte { return nil })
}

// serveDatagrams sends what answer gives for each, but nothing for nil.
func serveDatagrams(address string, answer func(datagram []byte) []byte) error {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	go func() {
		buffer := make([]byte, 65535)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if reply := answer(buffer[:n]); reply != nil {
				// A lost answer looks to the asker as it should: like silence.
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return nil
}

// serveHTTP answers every request with the answer.
func serveHTTP(address, answer string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, answer+"\n")
		}),
	}
	go func() { _ = server.Serve(listener) }()
	return nil
}
