package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func TestJSONOfAList(t *testing.T) {
	f := mesh()
	f.nodes = f.nodes[1:2]
	got := tool(t.Context(), f.serve(t), "", "-o", "json", "node", "list")
	const want = `[
  {
    "name": "edge-1",
    "id": "bb000000020123456789abcdef0123456789abcd",
    "roles": [
      "edge"
    ],
    "state": "alive",
    "links": [
      {
        "address": "198.18.0.2",
        "carrier": "telecom"
      },
      {
        "address": "198.18.1.2",
        "carrier": "mobile"
      }
    ],
    "tunnel": {
      "driver": "wireguard-userspace",
      "device": "enaa00000001w",
      "state": "up",
      "endpoint": "198.18.0.2:51820",
      "mtu": 1420,
      "rttMs": 1.234,
      "lastHandshake": "2026-05-04T11:59:48Z",
      "rxBytes": 1536,
      "txBytes": 1099511627776,
      "pathMtu": 1216,
      "pathMtuBasis": "confirmed",
      "pathMtuConfirmed": "2026-05-04T11:59:57Z",
      "cipher": "chacha20-poly1305",
      "sessionSince": "2026-05-04T11:59:48Z",
      "rekeys": 30,
      "probes": 100,
      "probesLost": 3,
      "rttVariationMs": 0.25,
      "lastAnswer": "2026-05-04T11:59:59Z",
      "since": "2026-05-04T11:00:00Z",
      "problems": [],
      "replayedPackets": 0,
      "forgedPackets": 0
    },
    "prefix": "fdbe:efbb:0:2::/64",
    "address": "fdbe:efbb:0:2::1",
    "local": false,
    "version": "",
    "certificateExpires": "2027-05-04T12:00:00Z",
    "wireguard": {
      "publicKey": "cHVibGlj",
      "port": 51820
    },
    "ipsec": {
      "id": "@#bb00000002",
      "publicKey": "PEM",
      "port": 51821
    }
  }
]
`
	if got != (result{stdout: want}) {
		t.Errorf("got %d %s\n%s", got.code, got.stderr, got.stdout)
	}
}

func TestJSONOfAnEndpointKeepsEveryBitAndHasWhatIsEmpty(t *testing.T) {
	got := tool(t.Context(), mesh().serve(t), "", "endpoint", "show", "web-1", "--vpc", "blue", "-o=json")
	for _, want := range []string{
		`"txBytes": 9223372036854775808`,
		"\"drops\": {\n      \"fragment\": 7,\n      \"no-ingress-rule\": 7,\n      \"spoofed-mac\": 9\n    }",
		`"message": ""`,
	} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("stdout lacks %s:\n%s", want, got.stdout)
		}
	}
	got = tool(t.Context(), mesh().serve(t), "", "endpoint", "list", "-o=json")
	if !strings.Contains(got.stdout, "\"groups\": [],") || !strings.Contains(got.stdout, "\"counters\": null,\n") {
		t.Errorf("stdout\n%s", got.stdout)
	}
}

func TestJSONOfVerbs(t *testing.T) {
	socket := mesh().serve(t)
	for args, want := range map[string]string{
		"vpc delete blue":             "{}\n",
		"leave":                       "{}\n",
		"token create":                "{\n  \"token\": \"edgenet1.c2VjcmV0\",\n  \"expires\": \"2026-05-04T13:00:00Z\"\n}\n",
		"group create web --vpc blue": "{\n  \"name\": \"web\",\n  \"vpc\": \"blue\",\n  \"rules\": [],\n  \"created\": null\n}\n",
		"group rule remove web --id 1234 --vpc blu": "{\n  \"name\": \"web\",\n  \"vpc\": \"blu\",\n  \"rules\": [],\n  \"created\": null\n}\n",
	} {
		got := tool(t.Context(), socket, "", append(strings.Fields(args), "-o", "json")...)
		if got != (result{stdout: want}) {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

// The JSON is the API's: protojson itself reads it back to the same message.
func TestJSONIsTheAPIs(t *testing.T) {
	f := mesh()
	var messages []proto.Message
	for _, m := range f.nodes {
		messages = append(messages, m)
	}
	for _, m := range f.vpcs {
		messages = append(messages, m)
	}
	for _, m := range f.groups {
		messages = append(messages, m)
	}
	for _, m := range f.endpoints {
		messages = append(messages, m)
	}
	messages = append(messages, f.status, &edgenetv1.WatchResponse{Type: "added", Object: &edgenetv1.WatchResponse_Vpc{Vpc: f.vpcs[0]}})
	for _, m := range happened(f) {
		messages = append(messages, m)
	}
	for _, message := range messages {
		text, err := json.Marshal(fromMessage(message.ProtoReflect()))
		if err != nil {
			t.Fatal(err)
		}
		again := message.ProtoReflect().New().Interface()
		if err := protojson.Unmarshal(text, again); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !proto.Equal(message, again) {
			t.Errorf("%s\nis read back as %v", text, again)
		}
	}
}

func TestYAMLSaysWhatJSONSays(t *testing.T) {
	socket := mesh().serve(t)
	for _, args := range []string{"node list", "vpc list", "group list", "endpoint list", "status", "endpoint show web-1 --vpc blue"} {
		inJSON := tool(t.Context(), socket, "", append(strings.Fields(args), "-o", "json")...)
		inYAML := tool(t.Context(), socket, "", append(strings.Fields(args), "-o", "yaml")...)
		var fromJSON, fromYAML any
		if err := json.Unmarshal([]byte(inJSON.stdout), &fromJSON); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte(inYAML.stdout), &fromYAML); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, inYAML.stdout)
		}
		// Through JSON once more, so that every number is of the same type.
		text, err := json.Marshal(fromYAML)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &fromYAML); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(fromJSON, fromYAML) {
			t.Errorf("%s\nJSON %v\nYAML %v", args, fromJSON, fromYAML)
		}
	}
}

func TestSize(t *testing.T) {
	for bytes, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB", 1 << 20: "1.0 MiB", 1<<64 - 1: "16.0 EiB",
	} {
		if got := size(bytes); got != want {
			t.Errorf("size(%d) = %q; want %q", bytes, got, want)
		}
	}
}

func TestWhen(t *testing.T) {
	e := &env{now: func() time.Time { return now }}
	for age, want := range map[time.Duration]string{
		0: "now", -500 * time.Millisecond: "now", 12 * time.Second: "12s ago", 119 * time.Second: "1m ago", 47 * time.Hour: "47h ago",
		49 * time.Hour: "2d ago", -59*time.Minute - time.Second: "in 59m",
	} {
		if got := e.when(ago(age)); got != want {
			t.Errorf("when(%s) = %q; want %q", age, got, want)
		}
	}
}
