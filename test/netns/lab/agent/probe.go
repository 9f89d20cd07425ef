package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// probe tries once and says how it ended.
func probe(args ProbeArgs) ProbeReply {
	ctx, cancel := context.WithTimeout(context.Background(), args.Timeout)
	defer cancel()
	began := time.Now()
	answer, err := ask(ctx, args)
	reply := ProbeReply{Answer: answer, Took: time.Since(began)}
	reply.Outcome, reply.Reason = judge(err)
	return reply
}

// ask returns the service's answer.
func ask(ctx context.Context, args ProbeArgs) (string, error) {
	target := netip.AddrPortFrom(args.Target, args.Port).String()
	switch args.Network {
	case "tcp":
		return askTCP(ctx, target)
	case "udp":
		return askUDP(ctx, target)
	case "http":
		return askHTTP(ctx, target)
	case "icmp":
		return "", pingOnce(ctx, args.Target)
	default:
		return "", fmt.Errorf("probe %s: not tcp, udp, http or icmp", args.Network)
	}
}

func askTCP(ctx context.Context, target string) (string, error) {
	conn, err := dial(ctx, "tcp", target)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

func askUDP(ctx context.Context, target string) (string, error) {
	conn, err := dial(ctx, "udp", target)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, question); err != nil {
		return "", err
	}
	buffer := make([]byte, 1500)
	n, err := conn.Read(buffer)
	return string(buffer[:n]), err
}

func askHTTP(ctx context.Context, target string) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+target+"/", nil)
	if err != nil {
		return "", err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return strings.TrimSpace(string(body)), err
}

// say sends a text and closes. A closed port is not an error.
func say(args SayArgs) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := dial(ctx, args.Network, netip.AddrPortFrom(args.Target, args.Port).String())
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("say to %s port %d: %w", args.Network, args.Port, err)
	}
	_, err = io.WriteString(conn, args.Text)
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		err = nil // it did not want to hear all of it
	}
	return errors.Join(err, conn.Close())
}

// dial connects and gives the connection the context's deadline.
func dial(ctx context.Context, network, target string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, target)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

// judge sorts an attempt's error.
func judge(err error) (Outcome, string) {
	switch {
	case err == nil:
		return Answered, ""
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return Refused, err.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Silent, "no answer in time"
	default:
		return Unreachable, err.Error()
	}
}
