package netns

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// What cannot be attached is refused in words, and leaves nothing.
//
//	edge-1: web (may), others (may not)
func TestAttachRefusesInWords(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	edge := l.Host("edge-1")
	edge.Start()
	web := edge.Container("web")
	netns := web.Netns()
	attach := func(vpc, ip string, more ...string) []string {
		return append([]string{"endpoint", "attach", "web", "--vpc", vpc, "--ip", ip}, more...)
	}
	edge.CtlFails([]string{"mesh"}, attach("blue", "10.0.0.2", "--netns", netns)...)
	edge.Init()
	edge.CtlFails([]string{"blue"}, attach("blue", "10.0.0.2", "--netns", netns)...)
	edge.VPC("blue", "10.0.0.0/24")

	for _, wrong := range []struct {
		why   string
		words []string
		args  []string
	}{
		{"outside the VPC", []string{"10.1.0.2"}, attach("blue", "10.1.0.2", "--netns", netns)},
		{"the gateway's", []string{"10.0.0.1"}, attach("blue", "10.0.0.1", "--netns", netns)},
		{"the network's", []string{"10.0.0.0"}, attach("blue", "10.0.0.0", "--netns", netns)},
		{"the broadcast's", []string{"10.0.0.255"}, attach("blue", "10.0.0.255", "--netns", netns)},
		{"an unknown group", []string{"nobody"}, attach("blue", "10.0.0.2", "--netns", netns, "--group", "nobody")},
		{"no namespace there", []string{"/run/netns/absent"}, attach("blue", "10.0.0.2", "--netns", "/run/netns/absent")},
		{"no namespace at all", []string{"/etc/passwd"}, attach("blue", "10.0.0.2", "--netns", "/etc/passwd")},
		{"the interface is taken", []string{"lo"}, attach("blue", "10.0.0.2", "--netns", netns, "--ifname", "lo")},
		{"no such device", []string{"absent0"}, attach("blue", "10.0.0.2", "--device", "absent0")},
		{"a device with an address", []string{"underlay0"}, attach("blue", "10.0.0.2", "--device", "underlay0")},
	} {
		t.Log(wrong.why)
		edge.CtlFails(wrong.words, wrong.args...)
	}
	for _, usage := range [][]string{
		attach("blue", "10.0.0.2"),
		attach("blue", "not-an-address", "--netns", netns),
		attach("blue", "10.0.0.2", "--netns", netns, "--tap", "tap0"),
		{"endpoint", "attach"},
	} {
		if result := edge.Ctl(usage...); result.Code == 0 {
			t.Errorf("edgenetctl %v ended with 0: %s", usage, result.Stdout)
		}
	}
	var endpoints []struct{ Name string }
	edge.CtlJSON(&endpoints, "endpoint", "list")
	if len(endpoints) != 0 {
		t.Errorf("refused attaches left %v", endpoints)
	}
	if interfaces := web.Interfaces(); len(interfaces) != 1 {
		t.Errorf("refused attaches left %v in the container", interfaces)
	}
	if devices := edge.EndpointDevices(); len(devices) > 0 {
		t.Errorf("refused attaches left the devices %v", devices)
	}
}

// The same attach again changes nothing; running traffic does not notice.
func TestTheSameAttachChangesNothing(t *testing.T) {
	t.Parallel()
	l := lab.NewTimed(t)
	hosts, blue, _ := twoTenants(l)
	blue.web.Reaches(blue.db, "icmp")
	before, devices := blue.web.MAC(), hosts[1].Devices()
	ping := blue.web.Pings(blue.db.IP)
	for range 5 {
		blue.web.Attach("blue", "10.0.0.2", "all")
	}
	ping.Loses(0)
	if after := blue.web.MAC(); after.String() != before.String() {
		t.Errorf("the MAC was %s and is %s", before, after)
	}
	if after := hosts[1].Devices(); fmt.Sprint(after) != fmt.Sprint(devices) {
		t.Errorf("the devices were %v and are %v", devices, after)
	}
	// With other groups it is changed in place.
	hosts[0].Group("blue", "none")
	blue.db.Attach("blue", "10.0.0.3", "none")
	blue.web.Blocked(blue.db, "icmp")
	blue.db.Attach("blue", "10.0.0.3", "all")
	blue.web.Reaches(blue.db, "icmp", "http/80")

	// The answer has what edgenet chose, as the list has it.
	var answered, listed struct{ MAC, Device string }
	hosts[1].CtlJSON(&answered, "endpoint", "attach", "blue-web", "--vpc", "blue", "--ip", "10.0.0.2", "--group", "all", "--netns", blue.web.Netns())
	hosts[1].CtlJSON(&listed, "endpoint", "show", "blue-web", "--vpc", "blue")
	if answered != listed || answered.MAC == "" || answered.Device == "" {
		t.Errorf("attach answered %+v, and there is %+v", answered, listed)
	}
}

// Containers die while they are being attached, at every moment of it. Nothing
// is left of them, and the next attach works.
func TestNamespacesThatVanishMidway(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	edge := hosts[0]
	edge.VPC("blue", "10.0.0.0/24")
	edge.Group("blue", "all", open)
	for round := range 12 {
		doomed := edge.Container(fmt.Sprintf("doomed-%d", round))
		var racing sync.WaitGroup
		racing.Go(func() { doomed.TryAttach("blue", "10.0.0.9", "all") })
		racing.Go(func() { spin(round); doomed.Exit() })
		racing.Wait()
		// Attached or not, it is there to be detached or it is not there.
		edge.Ctl("endpoint", "detach", doomed.Name, "--vpc", "blue")
	}
	// One whose namespace went after the attach is told as failed, or gone.
	gone := edge.Container("gone")
	gone.Attach("blue", "10.0.0.8", "all")
	gone.Exit()
	edge.Restart()
	l.AwaitMesh(hosts...)
	l.Await("the endpoint without a namespace is not called ready", func() error {
		endpoint, err := edge.Endpoint("blue", "gone")
		if err == nil && endpoint.GetState() == "ready" {
			return errors.New(endpoint.String())
		}
		return nil
	})
	edge.Ctl("endpoint", "detach", "gone", "--vpc", "blue")

	l.Await("no device of a dead container is left", func() error {
		if devices := edge.EndpointDevices(); len(devices) > 0 {
			return fmt.Errorf("devices %v", devices)
		}
		return nil
	})
	web, db := edge.Container("web"), hosts[1].Container("db").Serves("http/80")
	web.Attach("blue", "10.0.0.9", "all")
	db.Attach("blue", "10.0.0.3", "all")
	web.Reaches(db, "icmp", "http/80")
}

// spin takes a little longer in each round, so that the end of the namespace
// falls into different moments of an attach.
func spin(round int) {
	sum := 0
	for i := range round * 2_000_000 {
		sum += i
	}
	spun = sum
}

// spun keeps the compiler from leaving spin's loop out.
var spun int
