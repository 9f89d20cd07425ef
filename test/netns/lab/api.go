package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
)

// API is a host's control socket for a Go program.
type API struct {
	Mesh      edgenetv1connect.MeshServiceClient
	Nodes     edgenetv1connect.NodeServiceClient
	VPCs      edgenetv1connect.VPCServiceClient
	Groups    edgenetv1connect.GroupServiceClient
	Endpoints edgenetv1connect.EndpointServiceClient
	Tunnels   edgenetv1connect.TunnelServiceClient
	Watch     edgenetv1connect.WatchServiceClient
}

// callTime bounds one call; joins and first handshakes included.
var callTime = 20 * time.Second * slowness

// API returns clients for the host's socket. Each call makes a connection of
// its own, so nothing is kept over a restart, and nothing is left at the end.
func (h *Host) API() API {
	transport := socketTransport(h.Socket())
	transport.DisableKeepAlives = true
	return newAPI(transport)
}

// KeptAPI returns clients that keep their connection, and the function that
// closes it.
func (h *Host) KeptAPI() (API, func()) {
	transport := socketTransport(h.Socket())
	return newAPI(transport), transport.CloseIdleConnections
}

// GRPC returns clients that speak gRPC, and the function that closes their
// connection.
func (h *Host) GRPC() (API, func()) {
	transport := socketTransport(h.Socket())
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetUnencryptedHTTP2(true)
	return newAPI(transport, connect.WithGRPC()), transport.CloseIdleConnections
}

// socketTransport dials the socket whatever the address.
func socketTransport(socket string) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
	}
}

func newAPI(transport *http.Transport, options ...connect.ClientOption) API {
	client, base := &http.Client{Transport: transport}, "http://edgenet"
	return API{
		Mesh:      edgenetv1connect.NewMeshServiceClient(client, base, options...),
		Nodes:     edgenetv1connect.NewNodeServiceClient(client, base, options...),
		VPCs:      edgenetv1connect.NewVPCServiceClient(client, base, options...),
		Groups:    edgenetv1connect.NewGroupServiceClient(client, base, options...),
		Endpoints: edgenetv1connect.NewEndpointServiceClient(client, base, options...),
		Tunnels:   edgenetv1connect.NewTunnelServiceClient(client, base, options...),
		Watch:     edgenetv1connect.NewWatchServiceClient(client, base, options...),
	}
}

// Status asks how the node stands.
func (a API) Status() (*edgenetv1.GetStatusResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	return a.Mesh.GetStatus(ctx, &edgenetv1.GetStatusRequest{})
}

// Nodes returns the nodes as this host knows them.
func (h *Host) Nodes() ([]*edgenetv1.Node, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	response, err := h.API().Nodes.ListNodes(ctx, &edgenetv1.ListNodesRequest{})
	return response.GetNodes(), err
}

// Node returns one node as this host knows it.
func (h *Host) Node(name string) (*edgenetv1.Node, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	response, err := h.API().Nodes.GetNode(ctx, &edgenetv1.GetNodeRequest{Name: name})
	return response.GetNode(), err
}

// Endpoints returns the mesh's endpoints as this host knows them.
func (h *Host) Endpoints() ([]*edgenetv1.Endpoint, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	response, err := h.API().Endpoints.ListEndpoints(ctx, &edgenetv1.ListEndpointsRequest{})
	return response.GetEndpoints(), err
}

// Endpoint returns one endpoint as this host knows it.
func (h *Host) Endpoint(vpc, name string) (*edgenetv1.Endpoint, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	response, err := h.API().Endpoints.GetEndpoint(ctx, &edgenetv1.GetEndpointRequest{Vpc: vpc, Name: name})
	return response.GetEndpoint(), err
}

// settled says that a tunnel is as it should be.
func settled(state string) bool {
	return state == "up" || state == "resting" || state == "not needed"
}

// seesAll returns an error unless exactly these hosts are alive here, with the
// tunnels to the others up.
func (h *Host) seesAll(hosts []*Host) error {
	nodes, err := h.Nodes()
	if err != nil {
		return err
	}
	if len(nodes) != len(hosts) {
		return fmt.Errorf("it lists %d nodes: %v", len(nodes), nodes)
	}
	byName := make(map[string]*edgenetv1.Node)
	for _, node := range nodes {
		byName[node.GetName()] = node
	}
	var problems []error
	for _, other := range hosts {
		node := byName[other.Name]
		switch {
		case node == nil:
			problems = append(problems, fmt.Errorf("no node %s", other.Name))
		case node.GetState() != "alive":
			problems = append(problems, fmt.Errorf("%s is %s", other.Name, node.GetState()))
		case other != h && !settled(node.GetTunnel().GetState()):
			problems = append(problems, fmt.Errorf("tunnel to %s: %v", other.Name, node.GetTunnel()))
		}
	}
	return errors.Join(problems...)
}
