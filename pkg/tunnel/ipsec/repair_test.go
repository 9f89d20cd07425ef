package ipsec

import (
	"os"
	"testing"
	"time"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// damage is what others do to node 0 behind the driver's back.
type damage struct {
	name   string
	do     func(t *testing.T, f *fleet)
	mended func(t *testing.T, f *fleet, before *snapshot) bool
}

var userspaceDamages = []damage{
	{"SAs are terminated", terminateAll, hasOtherSAs},
	{"the configuration is unloaded", unloadAll, hasConn},
	{"charon is stopped", func(t *testing.T, f *fleet) { f.signal(t, unix.SIGTERM) }, hasOtherSAs},
	{"charon's settings are edited", editSettings, hasSettings},
	{"a stranger is let in", loadStranger, hasNoStranger},
	{"the device is deleted", deleteDevice, hasOtherSAs},
	{"the device's queue is taken off", deleteQueue, hasQueue},
}

var kernelDamages = []damage{
	{"SAs are terminated", terminateAll, hasOtherSAs},
	{"the device is deleted", deleteDevice, hasDevice},
	{"states are flushed", func(t *testing.T, f *fleet) {
		f.lab.Spaces[0].Must(t, func() error { return netlink.XfrmStateFlush(netlink.XFRM_PROTO_ESP) })
	}, hasOtherSAs},
	{"receive offload is turned on", func(t *testing.T, f *fleet) {
		f.offload(t, func(tool *ethtool.Ethtool) error {
			return tool.Change(f.names[0], map[string]bool{receiveOffload: true})
		})
	}, hasNoGRO},
	{"policies are flushed", func(t *testing.T, f *fleet) {
		f.lab.Spaces[0].Must(t, netlink.XfrmPolicyFlush)
	}, hasOtherSAs},
}

func TestUserspaceIsRepaired(t *testing.T) { isRepaired(t, KindUserspace, userspaceDamages) }

func TestKernelIsRepaired(t *testing.T) {
	requireKernel(t)
	isRepaired(t, KindKernel, kernelDamages)
}

// repairTime is promised: two rounds of the daemon, and a second. A machine that
// is busy with other tests gets three times as much.
const repairTime = 15 * time.Second

func isRepaired(t *testing.T, kind Kind, damages []damage) {
	t.Parallel() // most of its time is spent waiting
	f := newFleet(t, newHarness(t, kind, 2))
	f.full(t)
	f.keep(t, 0, f.peer(1))
	f.keep(t, 1, f.peer(0))
	c := f.chat(t, 0, 1)
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			f.settled(t)
			c.more(t)
			before, err := readOf(t, f)
			if err != nil {
				t.Fatal(err)
			}
			d.do(t, f)
			begin := time.Now()
			for !d.mended(t, f, before) {
				if time.Since(begin) > repairTime {
					t.Fatalf("it was not mended within %s", repairTime)
				}
				time.Sleep(20 * time.Millisecond)
			}
			c.more(t)
			t.Logf("mended after %s", time.Since(begin).Round(10*time.Millisecond))
		})
	}
}

// signal sends one to the charon of node 0.
func (f *fleet) signal(t *testing.T, s unix.Signal) {
	t.Helper()
	p := f.charon(t, 0)
	if p == nil {
		t.Fatal("there is no charon")
	}
	if err := p.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func terminateAll(t *testing.T, f *fleet) {
	// It says no when the peer was not quick to agree.
	_ = f.command(t, 0, "terminate", map[string]string{"ike": connName(f.keys[1].Public()), "timeout": "1000"})
}

func unloadAll(t *testing.T, f *fleet) {
	if err := f.command(t, 0, "unload-conn", map[string]string{"name": connName(f.keys[1].Public())}); err != nil {
		t.Fatal(err)
	}
}

func editSettings(t *testing.T, f *fleet) {
	if err := os.WriteFile(settingsPath(f.dir(0)), []byte("charon {\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func loadStranger(t *testing.T, f *fleet) {
	c, err := (local{key: f.keys[0].Public(), device: f.device(0), lifetimes: DefaultLifetimes}).config(f.peer(1), 77)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.command(t, 0, "load-conn", map[string]ikeConfig{"stranger": c}); err != nil {
		t.Fatal(err)
	}
}

func deleteDevice(t *testing.T, f *fleet) {
	name := f.deviceName(t, 0)
	f.lab.Spaces[0].Must(t, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
}

func deleteQueue(t *testing.T, f *fleet) {
	name := f.deviceName(t, 0)
	f.lab.Spaces[0].Must(t, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		attrs := netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
		return netlink.QdiscDel(&netlink.Tbf{QdiscAttrs: attrs})
	})
}

// hasOtherSAs says whether there is a child SA that was not there before.
func hasOtherSAs(t *testing.T, f *fleet, before *snapshot) bool {
	now, err := readOf(t, f)
	if err != nil {
		return false
	}
	old := make(map[uint32]bool)
	for _, sa := range before.sas[f.keys[1].Public()] {
		for _, c := range sa.children {
			old[c.spiIn] = true
		}
	}
	for _, sa := range now.sas[f.keys[1].Public()] {
		if c := sa.newest(); c != nil && !old[c.spiIn] {
			return true
		}
	}
	return false
}

func hasConn(t *testing.T, f *fleet, before *snapshot) bool {
	now, err := readOf(t, f)
	key := f.keys[1].Public()
	return err == nil && now.conns[key] == before.conns[key]
}

func hasSettings(_ *testing.T, f *fleet, _ *snapshot) bool {
	text, err := os.ReadFile(settingsPath(f.dir(0)))
	return err == nil && string(text) == settings(f.kind, f.dir(0), listenPort)
}

func hasNoStranger(t *testing.T, f *fleet, _ *snapshot) bool {
	now, err := readOf(t, f)
	return err == nil && len(now.strays) == 0
}

func hasDevice(_ *testing.T, f *fleet, _ *snapshot) bool {
	err := f.lab.Spaces[0].Do(func() error {
		_, err := netlink.LinkByName(f.names[0])
		return err
	})
	return err == nil
}

// offload asks ethtool in node 0's namespace.
func (f *fleet) offload(t *testing.T, ask func(*ethtool.Ethtool) error) {
	t.Helper()
	f.lab.Spaces[0].Must(t, func() error {
		tool, err := ethtool.NewEthtool()
		if err != nil {
			return err
		}
		defer tool.Close()
		return ask(tool)
	})
}

func hasNoGRO(t *testing.T, f *fleet, _ *snapshot) bool {
	on := true
	f.offload(t, func(tool *ethtool.Ethtool) error {
		have, err := tool.Features(f.names[0])
		on = have[receiveOffload]
		return err
	})
	return !on
}

func hasQueue(t *testing.T, f *fleet, _ *snapshot) bool {
	name := f.deviceName(t, 0)
	found := false
	f.lab.Spaces[0].Must(t, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		queues, err := netlink.QdiscList(link)
		for _, q := range queues {
			_, is := q.(*netlink.Tbf)
			found = found || is
		}
		return err
	})
	return found
}

// A daemon that ends leaves everything as it is, even if its charon dies then:
// the next one makes another.
func TestANewDriverFindsADeadCharon(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 2))
	f.full(t)
	f.kill(t, 0)
	f.drivers[0] = f.driver(t, 0)
	f.up(t, 0)
	f.put(t, 0, f.peer(1))
	f.await(t, 0, 1)
	if !f.lab.Deliver(t, 1, 0, f.device(1).Address, f.device(0).Address, f.device(1).Address) {
		t.Error("a datagram was not delivered")
	}
}

// Names of directories are the device's: two daemons in two namespaces do not
// take each other's charon.
func TestCharonOfAnotherNamespaceIsRefused(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 2))
	other := tunneltest.Spaced{Driver: f.raw(0), Space: f.lab.Spaces[1]}
	if _, err := other.Up(t.Context(), f.device(0)); err == nil {
		t.Error("it was adopted")
	}
	f.lab.Spaces[1].Must(t, func() error { return device.EnsureUnreachable(mesh, nil) })
	f.up(t, 0)
}

func TestRemoveAllLeavesNothing(t *testing.T) {
	f := newFleet(t, newHarness(t, KindUserspace, 2))
	f.full(t)
	f.lab.Spaces[0].Must(t, func() error { return RemoveAll(t.Context(), f.runDirs[0], f.raw(0).log) })
	if left := f.leftovers(t, 0); len(left) > 0 {
		t.Errorf("it left %q", left)
	}
	f.lab.Spaces[0].Must(t, func() error { return RemoveAll(t.Context(), f.runDirs[0], f.raw(0).log) })
}
