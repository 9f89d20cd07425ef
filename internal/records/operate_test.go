package records

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh"
)

func TestTestsAndShadowsAreValidated(t *testing.T) {
	rule := &Rule{Direction: "ingress", Protocol: "tcp", Ports: "80", Peer: "any"}
	many := &Tests{}
	for range MaxTests + 1 {
		many.Tests = append(many.Tests, &Test{Assertion: "a reaches b:1"})
	}
	tests := []struct {
		name    string
		kind    mesh.Kind
		key     string
		payload proto.Message
		want    string // empty: is valid
	}{
		{"tests", mesh.KindTests, "7", &Tests{Tests: []*Test{{Assertion: "a reaches b:1"}}}, ""},
		{"tests that another version may read", mesh.KindTests, "7", &Tests{Tests: []*Test{{Assertion: "a adores b"}}}, ""},
		{"no tests", mesh.KindTests, "7", &Tests{}, ""},
		{"a shadow", mesh.KindShadow, "7", &Shadow{Groups: []*ShadowGroup{{Name: "web", Rules: []*Rule{rule}}, {Name: "db"}}}, ""},
		{"tests under a bad key", mesh.KindTests, "07", &Tests{}, "VNI"},
		{"a shadow under a bad key", mesh.KindShadow, "16777216", &Shadow{}, "VNI"},
		{"too many tests", mesh.KindTests, "7", many, "at most 256"},
		{"an empty assertion", mesh.KindTests, "7", &Tests{Tests: []*Test{{}}}, "0 bytes"},
		{"an assertion without end", mesh.KindTests, "7", &Tests{Tests: []*Test{{Assertion: strings.Repeat("x", 513)}}}, "513 bytes"},
		{"a group twice", mesh.KindShadow, "7", &Shadow{Groups: []*ShadowGroup{{Name: "web"}, {Name: "web"}}}, "twice"},
		{"a group with a bad name", mesh.KindShadow, "7", &Shadow{Groups: []*ShadowGroup{{Name: "Web"}}}, "Web"},
		{"a rule twice", mesh.KindShadow, "7", &Shadow{Groups: []*ShadowGroup{{Name: "web", Rules: []*Rule{rule, rule}}}}, "twice"},
		{"a bad rule", mesh.KindShadow, "7", &Shadow{Groups: []*ShadowGroup{{Name: "web", Rules: []*Rule{{}}}}}, "direction"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			payload, err := proto.Marshal(test.payload)
			if err != nil {
				t.Fatal(err)
			}
			err = Validate(mesh.Record{Kind: test.kind, Key: test.key, Payload: payload})
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
