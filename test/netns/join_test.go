package netns

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
)

// A token that is wrong, expired or used up admits nobody, and says why.
//
//	cloud-1 (makes tokens) ── 198.18.0.0/24 ── edge-1, edge-2 (try them)
func TestBadTokensAdmitNobody(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	cloud := l.Mesh("cloud-1")[0]
	edge1, edge2 := l.Host("edge-1"), l.Host("edge-2")
	edge1.Start()
	edge2.Start()

	edge1.CtlFails([]string{"token"}, "join", "edgenet1.nonsense")
	edge1.CtlFails([]string{"token"}, "join", "")

	good := cloud.Token("--uses", "1")
	// One character changed at a time, from end to end: the authority, the
	// secret, the address and the time are all in there.
	for at := len("edgenet1."); at < len(good); at += 1 + len(good)/12 {
		edge1.CtlFails(nil, "join", changed(good, at))
	}
	edge1.CtlFails(nil, "join", good[:len(good)-8])

	short := cloud.Token("--ttl", "1s")
	made := time.Now()
	l.Await("the token is old", func() error {
		if age := time.Since(made); age < 2*time.Second {
			return fmt.Errorf("it is %s old", age)
		}
		return nil
	})
	edge1.CtlFails([]string{"expired"}, "join", short)

	edge1.Join(good)
	l.AwaitMesh(cloud, edge1)
	edge2.CtlFails([]string{"used"}, "join", good)
	edge1.CtlFails([]string{"mesh"}, "join", good)
	edge1.CtlFails([]string{"authority"}, "token", "create")

	l.AwaitMesh(cloud, edge1)
	if mesh := meshOf(edge2); mesh != "" {
		t.Errorf("a refused node says it is in mesh %s", mesh)
	}

	// The token can come from a pipe, so that no list of processes shows it.
	result := edge2.CtlWithInput(cloud.Token()+"\n", "join", "-")
	if result.Code != 0 {
		t.Errorf("join with the token on stdin: %s", result.Stderr)
	}
	l.AwaitMesh(cloud, edge1, edge2)
}

// changed returns the token with another character at one place.
func changed(token string, at int) string {
	other := "A"
	if token[at] == 'A' {
		other = "B"
	}
	return token[:at] + other + token[at+1:]
}

func meshOf(host *lab.Host) string {
	var status struct{ MeshID string }
	host.CtlJSON(&status, "status")
	return status.MeshID
}

// Someone who reaches every port, and was never admitted, learns nothing and
// changes nothing. Neither does a node of another mesh.
//
//	cloud-1 ── edge-1          one mesh
//	other                      a mesh of its own, on the same wire
//	stranger                   no edgenetd at all
func TestAStrangerGetsNothing(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("cloud-1", "edge-1")
	cloud := hosts[0]
	other := l.Mesh("other")[0]
	stranger := l.Stranger("stranger")

	base := fmt.Sprintf("https://%s:7947", cloud.Underlay)
	for _, path := range []string{
		"/", "/mesh/v1/sync", "/mesh/v1/join",
		"/edgenet.v1.NodeService/ListNodes", "/edgenet.v1.VPCService/CreateVPC",
	} {
		result := stranger.Runs("curl", "-sk", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}",
			"-H", "Content-Type: application/json", "-d", "{}", base+path)
		if strings.HasPrefix(result.Stdout, "2") {
			t.Errorf("a stranger asked for %s and got %s", path, result.Stdout)
		}
	}
	// The peer API does not speak without TLS, nor older TLS.
	for _, options := range [][]string{{"http://"}, {"https://", "--tls-max", "1.2"}} {
		args := append([]string{"-sk", "--max-time", "5", options[0] + cloud.Underlay.String() + ":7947/"}, options[1:]...)
		if result := stranger.Runs("curl", args...); strings.Contains(result.Stdout, "edge-1") {
			t.Errorf("curl %v told a stranger of a node", args)
		}
	}
	for _, line := range []string{"hello\n", strings.Repeat("\x00\x01\x02\x03", 4000)} {
		stranger.Says("tcp", cloud.Underlay, 7946, line)
		stranger.Says("tcp", cloud.Underlay, 7947, line)
		stranger.Says("udp", cloud.Underlay, 7946, line[:min(len(line), 1200)])
		stranger.Says("udp", cloud.Underlay, 51820, line[:min(len(line), 1200)])
	}

	l.AwaitMesh(hosts...)
	l.AwaitMesh(other)
	if meshOf(other) == meshOf(cloud) {
		t.Errorf("two meshes have one id, %s", meshOf(cloud))
	}
	other.CtlFails([]string{"mesh"}, "join", cloud.Token())
}
