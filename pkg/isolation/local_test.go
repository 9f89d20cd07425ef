package isolation

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// modes are the ways to attach, all of which every kernel of the tests has.
var modes = map[string]Mode{"tcx": AttachTCX, "clsact": AttachClsact}

// Two tenants with the same addresses on one host.
//
//	tenant 100: web 10.0.0.2   db 10.0.0.3
//	tenant 200: web 10.0.0.2   db 10.0.0.3
func TestTenantsOnOneHost(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, nodeA, mode)
			web, db, web2, db2 := newSpace(t), newSpace(t), newSpace(t), newSpace(t)
			h.endpoint(testVNI, "web", "10.0.0.2", web)
			h.endpoint(testVNI, "db", "10.0.0.3", db)
			h.endpoint(otherVNI, "web", "10.0.0.2", web2)
			h.endpoint(otherVNI, "db", "10.0.0.3", db2)
			h.apply()

			web.reaches("10.0.0.3")
			web2.reaches("10.0.0.3")
			db.serveTCP("10.0.0.3:80")
			c, err := web.dial("10.0.0.3:80")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			echoes(t, c, 4<<20)
			if c, err := web2.dial("10.0.0.3:80"); err == nil {
				_ = c.Close()
				t.Fatal("the other tenant's server answered")
			}
			web.reaches("10.0.0.1") // the gateway
			web.doesNotReach("10.0.0.9")
		})
	}
}

// The names are part of the API: they are written down once more, on purpose.
func TestReasonsHaveNames(t *testing.T) {
	names, err := reasonNames()
	if err != nil {
		t.Fatal(err)
	}
	for reason, want := range map[edgenetReason]string{
		edgenetReasonREASON_UNKNOWN_ENDPOINT:     "unknown-endpoint",
		edgenetReasonREASON_SUPERSEDED:           "superseded",
		edgenetReasonREASON_MALFORMED:            "malformed",
		edgenetReasonREASON_UNSUPPORTED_PROTOCOL: "unsupported-protocol",
		edgenetReasonREASON_SPOOFED_MAC:          "spoofed-mac",
		edgenetReasonREASON_SPOOFED_SOURCE:       "spoofed-source",
		edgenetReasonREASON_NOT_GATEWAY:          "not-gateway",
		edgenetReasonREASON_MULTICAST:            "multicast",
		edgenetReasonREASON_IP_OPTIONS:           "ip-options",
		edgenetReasonREASON_FRAGMENT_SHORT:       "fragment-short",
		edgenetReasonREASON_NO_EGRESS_RULE:       "no-egress-rule",
		edgenetReasonREASON_NO_INGRESS_RULE:      "no-ingress-rule",
		edgenetReasonREASON_NO_FLOW:              "no-flow",
		edgenetReasonREASON_NO_ROUTE:             "no-route",
		edgenetReasonREASON_NO_TUNNEL:            "no-tunnel",
		edgenetReasonREASON_PACKET_TOO_BIG:       "packet-too-big",
		edgenetReasonREASON_TRANSLATION:          "translation",
		edgenetReasonREASON_UNKNOWN_MAC:          "unknown-mac",
		edgenetReasonREASON_NOT_OWNER:            "not-owner",
		edgenetReasonREASON_FOREIGN_DESTINATION:  "foreign-destination",
		edgenetReasonREASON_HOST_SERVICE:         "host-service",
		edgenetReasonREASON_FLOW_BUDGET:          "flow-budget",
		edgenetReasonREASON_BAD_SEQUENCE:         "bad-sequence",
		edgenetReasonREASON_FRAGMENT_ALONE:       "fragment-alone",
		edgenetReasonREASON_FRAGMENT_OVERLAP:     "fragment-overlap",
		edgenetReasonREASON_EXTENSION_HEADERS:    "extension-headers",
		edgenetReasonREASON_SOURCE_ROUTING:       "source-routing",
		edgenetReasonREASON_OVERLAY_ADDRESS:      "overlay-address",
		edgenetReasonREASON_NEIGHBOR_DISCOVERY:   "neighbor-discovery",
		edgenetReasonREASON_GATEWAY:              "gateway",
		edgenetReasonREASON_TTL_EXPIRED:          "ttl-expired",
	} {
		if names[uint32(reason)] != want {
			t.Errorf("reason %d is %q, want %q", reason, names[uint32(reason)], want)
		}
	}
	if want := int(edgenetReasonREASON_MAX) + 1; len(names) != want {
		t.Errorf("%d names, want %d", len(names), want)
	}
}
