package netns

import (
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// open lets everyone in who is in the VPC.
const open = "ingress any - from any"
