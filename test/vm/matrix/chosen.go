package main

import "edgenet.dev/edgenet/pkg/tunnel"

// stock are the kernels that machines are made for.
var stock = []string{"6.1", "6.12"}

// chosen are the tests that tell what only a stock kernel can, in the time that there
// is: programs through its verifier, each way to attach, packets through real
// devices, and whole hosts with each driver that the kernel brings. Most of the time
// is the verifier's, some six seconds for each datapath that is opened: what does
// not depend on the kernel, and what one kernel tells of both, is left out.
var chosen = []suite{
	{
		name: "isolation", dir: "pkg/isolation", kernels: stock,
		run: oneOf(
			"TestProgramsStayWithinTheirBudget",
			"TestTenantsOnOneHost", "TestTenantAcrossHosts",
			"TestDualStackAcrossHosts",             // with fragments
			"TestUDPSegmentationAcrossHosts",       // 6.1 has none
			"TestAChecksumIsWrittenWhereItBelongs", // which programs see in two ways
			"TestNothingIsLeftAfterRemoval",
			"TestNoPeerOfTheKernelsIPsecSpeaksForAnother",
		),
		skipOn: map[string]string{
			"6.12": "/clsact|^TestTenantsOnOneHost$|^TestDualStackAcrossHosts$",
		},
	},
	conformance(tunnel.WireGuardKernel),
	conformance(tunnel.WireGuardUserspace),
	conformance(tunnel.IPsecKernel),
	conformance(tunnel.IPsecUserspace),
	{
		name: "ipsec", dir: "pkg/tunnel/ipsec", kernels: stock,
		run: oneOf("TestBothKindsConformTogether", "TestKernelRekeysWithoutLoss",
			"TestAPeerSpeaksForItselfAlone", "TestESPIsSentWholeOrNotAtAll"),
		skipOn: map[string]string{"6.1": "/userspace_begins", "6.12": "/kernel_begins"},
	},
	// Two hosts: each more is a daemon that opens a datapath while others speak.
	scenarios(tunnel.WireGuardKernel, stock, "TestRulesSurviveADaemonCrash"),
	scenarios(tunnel.IPsecKernel, stock, "TestRulesSurviveADaemonCrash"),
	scenarios("", []string{"6.12"}, "TestTheKernelsTunnelsChangeWithoutLoss"),
	scenarios(
		tunnel.IPsecUserspace, []string{own},
		"TestAnEndpointMoves", "TestATakenNodeSpeaksOnlyForItself", "TestBulkTrafficCrossesHosts", "TestDualStackTenantsOverIPv6",
		"TestHandMadePacketsGoNowhere", "TestRulesSurviveADaemonCrash", "TestTheWireIsNotTrusted", "TestTwoTenantsWithTheSameAddresses",
	),
}

// conformance is the suite that every driver has to pass.
func conformance(driver string) suite {
	s := suite{name: "wireguard", dir: "pkg/tunnel/wireguard", driver: driver, conform: true, run: oneOf("TestUserspaceConforms")}
	switch driver {
	case tunnel.IPsecKernel, tunnel.IPsecUserspace:
		s.name, s.dir = "ipsec", "pkg/tunnel/ipsec"
	}
	switch driver {
	case tunnel.WireGuardKernel, tunnel.IPsecKernel:
		s.run = oneOf("TestKernelConforms")
	default:
		s.kernels = []string{own}
	}
	return s
}

// scenarios are those of whole hosts that all run a driver; all of them if none is
// named.
func scenarios(driver string, kernels []string, tests ...string) suite {
	s := suite{name: "netns", dir: "test/netns", driver: driver, kernels: kernels}
	if len(tests) > 0 {
		s.run = oneOf(tests...)
	}
	return s
}

// everything is every test with every driver, on every kernel.
func everything() []suite {
	suites := []suite{
		{name: "isolation", dir: "pkg/isolation"},
		{name: "wireguard", dir: "pkg/tunnel/wireguard", skip: "Conforms$"},
		{name: "ipsec", dir: "pkg/tunnel/ipsec", skip: "Conforms$"},
	}
	for _, driver := range tunnel.Drivers() {
		s := conformance(driver)
		s.kernels = nil
		suites = append(suites, s)
	}
	suites = append(suites, scenarios("", nil))
	for _, driver := range tunnel.Drivers() {
		suites = append(suites, scenarios(driver, nil))
	}
	return suites
}
