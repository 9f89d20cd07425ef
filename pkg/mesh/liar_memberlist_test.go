package mesh

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"time"
)

// The types of memberlist's messages, which it does not export.
const (
	msgSuspect  = 3
	msgAlive    = 4
	msgDead     = 5
	msgPushPull = 6
	msgCompound = 7
	msgUser     = 8
	msgCompress = 9
	msgEncrypt  = 10
	msgLabel    = 244
)

// field is one of a message of memberlist's, which are maps in msgpack.
type field struct {
	name  string
	value any
}

// packed encodes a message.
func packed(kind byte, fields ...field) []byte {
	out := []byte{kind, 0x80 | byte(len(fields))}
	raw := func(b []byte) {
		out = append(binary.BigEndian.AppendUint16(append(out, 0xda), uint16(len(b))), b...)
	}
	for _, f := range fields {
		raw([]byte(f.name))
		switch v := f.value.(type) {
		case string:
			raw([]byte(v))
		case []byte:
			raw(v)
		case uint32:
			out = binary.BigEndian.AppendUint32(append(out, 0xce), v)
		case int64:
			out = binary.BigEndian.AppendUint64(append(out, 0xd3), uint64(v))
		default:
			panic(fmt.Sprintf("encode %s: a %T", f.name, v))
		}
	}
	return out
}

// accusation is a suspect or dead message.
func accusation(kind byte, incarnation uint32, node, from NodeID) []byte {
	return packed(kind, field{"Incarnation", incarnation}, field{"Node", string(node)}, field{"From", string(from)})
}

// aliveMessage says where a member is.
func aliveMessage(incarnation uint32, node NodeID, addr net.IP, port uint16) []byte {
	return packed(msgAlive, field{"Incarnation", incarnation}, field{"Node", string(node)}, field{"Addr", []byte(addr)},
		field{"Port", uint32(port)}, field{"Meta", []byte{}}, field{"Vsn", []byte{1, 5, 2, 0, 0, 0}})
}

// sealed encrypts what memberlist would, with its data to be authenticated.
func (l *liar) sealed(plain, also []byte) ([]byte, error) {
	block, err := aes.NewCipher(l.current().keys.held()[0].GetKey())
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 1+gcm.NonceSize())
	out[0] = 1 // the version without padding
	if _, err := rand.Read(out[1:]); err != nil {
		return nil, err
	}
	return gcm.Seal(out, out[1:], plain, also), nil
}

// label is the header of packets and streams.
func (l *liar) label() []byte {
	mesh := l.s.in.mesh
	return append([]byte{msgLabel, byte(len(mesh))}, mesh...)
}

// packet sends messages of memberlist's to every other node, each in a datagram.
func (l *liar) packet(messages ...[]byte) error {
	for _, m := range messages {
		b, err := l.sealed(m, []byte(l.s.in.mesh))
		if err != nil {
			return err
		}
		if err := l.datagram(append(l.label(), b...)); err != nil {
			return err
		}
	}
	return nil
}

// datagram sends bytes to every other node's gossip port.
func (l *liar) datagram(b []byte) error {
	for _, n := range l.others() {
		to, ok := l.gossipAddrPort(n.ID)
		if !ok {
			return fmt.Errorf("send to %s: no address", n.Name)
		}
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		if err != nil {
			return err
		}
		_, err = conn.Write(b)
		_ = conn.Close()
		if err != nil {
			return err
		}
		l.said++
	}
	return nil
}

// streams sends messages to every other node's gossip port by TCP, each over a
// connection of its own.
func (l *liar) streams(messages ...[]byte) error {
	for _, m := range messages {
		header := binary.BigEndian.AppendUint32([]byte{msgEncrypt}, uint32(len(m)+29)) // version, nonce, tag
		b, err := l.sealed(m, append(slices.Clone(header), l.s.in.mesh...))
		if err != nil {
			return err
		}
		for _, n := range l.others() {
			to, _ := l.gossipAddrPort(n.ID)
			conn, err := net.DialTimeout("tcp", to.String(), dialTimeout)
			if err != nil {
				return err
			}
			_, err = conn.Write(slices.Concat(l.label(), header, b))
			if err == nil {
				err = conn.SetReadDeadline(time.Now().Add(time.Second))
			}
			if err == nil {
				_, _ = conn.Read(make([]byte, 1)) // until it is refused, or not
			}
			_ = conn.Close()
			if err != nil {
				return err
			}
			l.said++
		}
	}
	return nil
}
