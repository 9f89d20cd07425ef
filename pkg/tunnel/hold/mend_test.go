package hold

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// What others do to the device is put right, and packets wait as before.
func TestADeviceIsMended(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		found string
		do    func(netlink.Link) error
	}{
		{"it was down", netlink.LinkSetDown},
		{"its name was other", func(link netlink.Link) error {
			return errors.Join(netlink.LinkSetDown(link), netlink.LinkSetName(link, "other"), netlink.LinkSetUp(link))
		}},
		{"its MTU was 1300", func(link netlink.Link) error { return netlink.LinkSetMTU(link, 1300) }},
		{"IPv6 was on", func(link netlink.Link) error {
			return os.WriteFile("/proc/sys/net/ipv6/conf/"+link.Attrs().Name+"/disable_ipv6", []byte("0"), 0o644)
		}},
	} {
		t.Run(c.found, func(t *testing.T) {
			b.log.Reset()
			b.space.Must(t, func() error {
				if err := b.Mend(); err != nil {
					return err
				}
				if b.log.Len() > 0 {
					t.Errorf("a device that is right is said to be wrong: %s", b.log.String())
				}
				link, err := netlink.LinkByName("hold")
				if err != nil {
					return err
				}
				return errors.Join(c.do(link), b.Mend())
			})
			if said := b.log.String(); !strings.Contains(said, c.found) {
				t.Errorf("the log does not say %q: %s", c.found, said)
			}
			b.Lead(nil)
			b.arrive(t, peer, 0, 3)
			b.awaitWaiting(t, peer, 3)
			b.Lead(map[netip.Prefix]int{peer: b.index})
			b.leaves(t, peer, 0, 3)
		})
	}
}

// A device that somebody deletes is noticed, and another that has its name, or its
// index, is not taken for it.
func TestADeletedDeviceIsNoticed(t *testing.T) {
	b := newBench(t)
	b.space.Must(t, func() error {
		link, err := netlink.LinkByName("hold")
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
	<-b.lost
	b.space.Must(t, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.Index = "hold", b.own
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "end"}); err != nil {
			return err
		}
		if err := b.Mend(); !errors.Is(err, ErrGone) {
			t.Errorf("it is said to be right: %v", err)
		}
		again, err := Open(Config{Logger: slog.New(slog.DiscardHandler), Device: "hold", Wanted: func() {}, Lost: func() {}})
		if err == nil {
			t.Error("a stranger's device is taken")
			return again.Close()
		}
		return nil
	})
}

// A device that cannot be mended just now is kept, with what waits in it.
func TestADeviceThatCannotBeMendedIsKept(t *testing.T) {
	b := newBench(t)
	b.arrive(t, peer, 0, 3)
	b.awaitWaiting(t, peer, 3)
	b.space.Must(t, func() error {
		var most unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &most); err != nil {
			return err
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Max: most.Max}); err != nil {
			return err
		}
		err := b.Mend()
		if !errors.Is(err, unix.EMFILE) || errors.Is(err, ErrGone) {
			t.Errorf("without a descriptor to be had it says %v", err)
		}
		return errors.Join(unix.Setrlimit(unix.RLIMIT_NOFILE, &most), b.Mend())
	})
	b.Lead(map[netip.Prefix]int{peer: b.index})
	b.leaves(t, peer, 0, 3)
}

// One whose name another has taken does not get it back.
func TestADeviceWhoseNameIsTakenIsGone(t *testing.T) {
	b := newBench(t)
	b.space.Must(t, func() error {
		link, err := netlink.LinkByName("hold")
		if err != nil {
			return err
		}
		if err := errors.Join(netlink.LinkSetDown(link), netlink.LinkSetName(link, "other")); err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "hold"
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "end"}); err != nil {
			return err
		}
		if err := b.Mend(); !errors.Is(err, ErrGone) {
			t.Errorf("it is said to be right: %v", err)
		}
		return nil
	})
}

// One that was moved away is not mended there, nor is another of its name.
func TestADeviceThatWasMovedAwayIsGone(t *testing.T) {
	b, elsewhere := newBench(t), tunneltest.NewSpace(t)
	var space *os.File
	elsewhere.Must(t, func() (err error) {
		space, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	defer func() { _ = space.Close() }()
	b.space.Must(t, func() error {
		link, err := netlink.LinkByName("hold")
		if err != nil {
			return err
		}
		return netlink.LinkSetNsFd(link, int(space.Fd()))
	})
	b.space.Must(t, func() error {
		if err := b.Mend(); !errors.Is(err, ErrGone) {
			t.Errorf("it is said to be right: %v", err)
		}
		return nil
	})
}
