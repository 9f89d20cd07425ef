package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/pkg/mesh"
)

// askTimeout is what another node may take to answer a question: a person waits,
// and one that does not answer is told of.
const askTimeout = 3 * time.Second

// maxAnswer is how large an answer may be, in bytes, unpacked: a thousand hits of
// rules are some 100 KiB.
const maxAnswer = 4 << 20

// askPeer asks one node. Its error says in words why there is no answer.
func askPeer[Req, Res any](ctx context.Context, d *Daemon, id mesh.NodeID, req *Req,
	call func(edgenetv1connect.PeerServiceClient) func(context.Context, *Req) (*Res, error),
) (*Res, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	client := edgenetv1connect.NewPeerServiceClient(d.mesh.PeerClient(id), mesh.PeerURL(id), connect.WithReadMaxBytes(maxAnswer))
	res, err := call(client)(ctx, req)
	var answer *connect.Error
	switch {
	case err == nil:
		return res, nil
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("it did not answer within %s", askTimeout)
	case connect.CodeOf(err) == connect.CodeUnimplemented:
		return nil, errors.New("its edgenetd is older and does not know the question")
	case errors.As(err, &answer):
		return nil, errors.New(answer.Message())
	}
	return nil, err
}
