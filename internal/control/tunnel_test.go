package control

import (
	"strings"
	"testing"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
)

func TestTheTunnelPolicyIsChangedFromAnyNode(t *testing.T) {
	cloud, edge := startNode(t, "cloud-1"), startNode(t, "edge-1")
	if _, err := cloud.mesh().Init(t.Context(), &api.InitRequest{}); err != nil {
		t.Fatal(err)
	}
	token, err := cloud.mesh().CreateToken(t.Context(), &api.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := edge.mesh().Join(t.Context(), &api.JoinRequest{Token: token.GetToken()}); err != nil {
		t.Fatal(err)
	}
	client := edgenetv1connect.NewTunnelServiceClient(edge.http, base)
	policy := func() string {
		t.Helper()
		answer, err := client.GetTunnelPolicy(t.Context(), &api.GetTunnelPolicyRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, r := range answer.GetRules() {
			words = append(words, r.GetBetween()+"="+r.GetTechnology())
		}
		return strings.Join(words, " ")
	}
	// What was carried out there is known here at once.
	for _, technology := range []string{"wireguard", "ipsec"} {
		set, err := client.SetTunnelRule(t.Context(), &api.SetTunnelRuleRequest{
			Rule: &api.TunnelRule{Between: "relay-gateway", Technology: technology},
		})
		if err != nil || set.GetRule().GetBetween() != "gateway-relay" || policy() != "gateway-relay="+technology {
			t.Errorf("set: %v, %v; the policy is %s", set, err, policy())
		}
	}
	_, err = client.SetTunnelRule(t.Context(), &api.SetTunnelRuleRequest{Rule: &api.TunnelRule{Between: "any", Technology: "none"}})
	if connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.HasSuffix(err.Error(), "write wireguard or ipsec") {
		t.Errorf("got %v", err)
	}
	if _, err := client.RemoveTunnelRule(t.Context(), &api.RemoveTunnelRuleRequest{Between: "relay-gateway"}); err != nil || policy() != "" {
		t.Errorf("remove: %v; the policy is %s", err, policy())
	}
	entries, err := edgenetv1connect.NewPolicyServiceClient(cloud.http, base).ListAudit(t.Context(), &api.ListAuditRequest{})
	if err != nil || len(entries.GetEntries()) != 5 || !strings.HasPrefix(entries.GetEntries()[2].GetWho(), "node edge-1 (") {
		t.Errorf("noted is %v, %v", entries, err)
	}
	list, err := client.ListTunnels(t.Context(), &api.ListTunnelsRequest{})
	if err != nil || len(list.GetTunnels()) != 1 || list.GetTunnels()[0].GetNode() != "cloud-1" {
		t.Errorf("the tunnels are %v, %v", list, err)
	}
}
