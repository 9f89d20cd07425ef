package lab

import (
	"errors"
	"os"
	"slices"
	"strings"

	"edgenet.dev/edgenet/internal/doctor"
)

// Drivers is $EDGENET_TUNNEL: what --tunnel-drivers of every host has, unless a
// test says otherwise; empty is all.
var Drivers = os.Getenv("EDGENET_TUNNEL")

// needsDrivers skips a test where hosts are to run what this machine cannot.
func needsDrivers(t TB) {
	t.Helper()
	if Drivers == "" {
		return
	}
	var lacks []error
	for _, name := range strings.Split(Drivers, ",") {
		err := tryDriver(t, name)
		if err == nil {
			return
		}
		lacks = append(lacks, err)
	}
	t.Skipf("this machine cannot run %s: %v", Drivers, errors.Join(lacks...))
}

// tryDriver returns why this machine cannot run a driver; nil if it can.
func tryDriver(t TB, name string) error {
	t.Helper()
	machine, err := doctor.Local()
	if err != nil {
		t.Fatalf("look at this machine: %v", err)
	}
	probe := machine.Drivers[name]
	if probe == nil {
		t.Fatalf("%q is no driver", name)
	}
	return probe()
}

// NeedsAllDrivers skips a test that is about hosts that may use several, where all
// run one alone.
func NeedsAllDrivers(t TB) {
	t.Helper()
	if Drivers != "" {
		t.Skipf("it has hosts use several drivers, and here they are to run %s alone", Drivers)
	}
}

// Uses tells whether hosts may use a technology, wireguard or ipsec.
func Uses(technology string) bool {
	return Drivers == "" || strings.Contains(Drivers, technology)
}

// NeedsTechnology skips a test that is about wireguard or ipsec, where hosts are to
// run none of its drivers.
func NeedsTechnology(t TB, name string) {
	t.Helper()
	if !Uses(name) {
		t.Skipf("it is about %s, and here hosts are to run %s alone", name, Drivers)
	}
}

// UseDriver has the hosts that are made from now on use one driver alone. It skips
// the test where this machine cannot run that, and where all tests are to use
// another.
func (l *Lab) UseDriver(name string) {
	l.t.Helper()
	if Drivers != "" && Drivers != name {
		l.t.Skipf("it has hosts use %s, and here they are to run %s alone", name, Drivers)
	}
	l.UseDrivers(name)
}

// UseDrivers is UseDriver of several, for a test that NeedsAllDrivers.
func (l *Lab) UseDrivers(names ...string) {
	l.t.Helper()
	for _, name := range names {
		if err := tryDriver(l.t, name); err != nil {
			l.t.Skipf("this machine cannot run %s: %v", name, err)
		}
	}
	l.driver = strings.Join(names, ",")
}

// Lacks returns the drivers that this machine cannot run, as edgenetctl doctor has
// it.
func (h *Host) Lacks() []string {
	h.lab.t.Helper()
	var report struct{ Drivers []string }
	h.CtlJSON(&report, "doctor")
	return slices.DeleteFunc([]string{"wireguard-kernel", "wireguard-userspace", "ipsec-kernel", "ipsec-userspace"},
		func(name string) bool { return slices.Contains(report.Drivers, name) })
}
