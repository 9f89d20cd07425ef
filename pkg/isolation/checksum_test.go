package isolation

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// unfinished is the virtio_net_hdr of a frame whose checksum the host shall work
// out: from start on, to be written at start + offset.
func unfinished(start, offset uint16) []byte {
	header := make([]byte, vnetHeader)
	header[0] = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM
	binary.NativeEndian.PutUint16(header[6:], start)
	binary.NativeEndian.PutUint16(header[8:], offset)
	return header
}

// A guest says where in its frame the host shall write the checksum. Neither a port
// nor an address may be rewritten that way behind the rules' back.
func TestAChecksumIsWrittenWhereItBelongs(t *testing.T) {
	a := newHost(t, nodeA, AttachAuto)
	web, db := tapEndpoint(), tapEndpoint()
	web.Egress = allowWeb
	db.Key, db.Device, db.Addresses, db.Ingress = dbKey, "vm1", []netip.Addr{dbAddr}, allowWeb
	a.put(web)
	a.put(db)
	a.apply()
	attacker, victim := a.boot("vm0"), a.boot("vm1")
	isARP := func(f []byte) bool { return f[12] == 8 && f[13] == 6 }
	attacker.asks(arpFrame(1, webMAC, webMAC, webAddr, gateway), isARP)
	victim.asks(arpFrame(1, dbMAC, dbMAC, dbAddr, gateway), isARP)

	const last = 45000
	frame := tcp4(dbAddr, 40000, 80, flagSYN)
	attacker.send(unfinished(34, 16), tcp4(dbAddr, 40001, 80, flagSYN))
	// Of the ports and the destination's address.
	for _, start := range []uint16{14, 20, 24, 30, 34} {
		for at := start; at < 38; at += 2 {
			// Newer kernels refuse some of these themselves.
			if _, err := attacker.tap.Write(append(unfinished(start, at-start), frame...)); err != nil && !errors.Is(err, unix.EINVAL) {
				t.Fatal(err)
			}
		}
	}
	attacker.send(nil, tcp4(dbAddr, last, 80, flagSYN))
	finished := false
	victim.hears(func(f []byte) bool {
		if f[12] != 8 || f[13] != 0 {
			return false
		}
		from, to := binary.BigEndian.Uint16(f[34:]), binary.BigEndian.Uint16(f[36:])
		if to != 80 || [4]byte(f[30:34]) != dbAddr.As4() || from < 40000 || from > last {
			t.Errorf("rules permit port 80, and the victim gets %x", f[14:38])
		}
		finished = finished || from == 40001
		return from == last
	})
	if !finished {
		t.Error("what is unfinished as it should be has not arrived")
	}
}
