package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/policy"
)

func (e *env) vpcCommand() *cli.Command {
	return &cli.Command{
		Name:        "vpc",
		Usage:       "manage tenants' private networks",
		Description: "edgenetctl vpc list",
		Subcommands: []*cli.Command{
			{
				Name:        "create",
				Usage:       "make a VPC",
				ArgsUsage:   "NAME --cidr CIDR...",
				Description: "edgenetctl vpc create blue --cidr 10.0.0.0/24\nedgenetctl vpc create green --cidr 10.0.0.0/24 --cidr fd00:1::/64",
				Flags: []cli.Flag{
					&cli.StringSliceFlag{Name: "cidr", Usage: "`CIDR` of its addresses, IPv4 or IPv6; repeatable"},
				},
				Action: e.action(createVPC),
			}, {
				Name:        "list",
				Usage:       "list every VPC",
				Description: "edgenetctl vpc list",
				Action:      e.action(listVPCs),
			}, {
				Name:        "show",
				Usage:       "show one VPC",
				ArgsUsage:   "NAME",
				Description: "edgenetctl vpc show blue",
				Action:      e.action(showVPC),
			}, {
				Name:        "delete",
				Usage:       "remove a VPC without endpoints, and its groups",
				ArgsUsage:   "NAME",
				Description: "edgenetctl vpc delete blue",
				Action:      e.action(deleteVPC),
			},
		},
	}
}

func createVPC(ctx context.Context, s *session) error {
	name, err := s.name()
	if err != nil {
		return err
	}
	cidrs := s.flags.StringSlice("cidr")
	if len(cidrs) == 0 {
		return usagef("--cidr is missing")
	}
	for _, text := range cidrs {
		if _, err := parsePrefix("cidr", text); err != nil {
			return err
		}
	}
	answer, err := call(ctx, s.vpcs.CreateVPC, &edgenetv1.CreateVPCRequest{Name: name, Cidrs: cidrs})
	if err != nil {
		return failed("create VPC "+name, err)
	}
	vpc := answer.GetVpc()
	return s.printAnswer(vpc, printable(fmt.Sprintf("VPC %s created: VNI %d, CIDRs %s, gateways %s",
		vpc.GetName(), vpc.GetVni(), list(vpc.GetCidrs()), list(vpc.GetGateways()))))
}

// parsePrefix reads a prefix that is the value of a flag.
func parsePrefix(flag, text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, usagef("--%s %q is no CIDR: write an address and a length, as in 10.0.0.0/24", flag, text)
	}
	if masked := prefix.Masked(); masked != prefix {
		return prefix, usagef("--%s %s has bits set behind its length: write %s", flag, prefix, masked)
	}
	return prefix, nil
}

func listVPCs(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	answer, err := call(ctx, s.vpcs.ListVPCs, &edgenetv1.ListVPCsRequest{})
	if err != nil {
		return failed("list VPCs", err)
	}
	return printList(s, "VPCs", answer.GetVpcs(), []column[*edgenetv1.VPC]{
		{"NAME", (*edgenetv1.VPC).GetName},
		{"VNI", func(v *edgenetv1.VPC) string { return strconv.Itoa(int(v.GetVni())) }},
		{"CIDRS", func(v *edgenetv1.VPC) string { return list(v.GetCidrs()) }},
		{"GATEWAYS", func(v *edgenetv1.VPC) string { return list(v.GetGateways()) }},
		{"ENDPOINTS", func(v *edgenetv1.VPC) string { return strconv.Itoa(int(v.GetEndpoints())) }},
		{"CREATED", func(v *edgenetv1.VPC) string { return s.when(v.GetCreated()) }},
	})
}

func showVPC(ctx context.Context, s *session) error {
	name, err := s.name()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.vpcs.GetVPC, &edgenetv1.GetVPCRequest{Name: name})
	if err != nil {
		return failed("show VPC "+name, err)
	}
	vpc := answer.GetVpc()
	return s.printAnswer(vpc, details([]detail{
		{"Name", vpc.GetName()},
		{"VNI", strconv.Itoa(int(vpc.GetVni()))},
		{"CIDRs", list(vpc.GetCidrs())},
		{"Gateways", list(vpc.GetGateways())},
		{"Endpoints", strconv.Itoa(int(vpc.GetEndpoints()))},
		{"Created", s.when(vpc.GetCreated())},
	}))
}

func deleteVPC(ctx context.Context, s *session) error {
	name, err := s.name()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.vpcs.DeleteVPC, &edgenetv1.DeleteVPCRequest{Name: name})
	if err != nil {
		return failed("delete VPC "+name, err)
	}
	return s.printAnswer(answer, fmt.Sprintf("VPC %s deleted", name))
}

// name is the one argument of commands on one named thing.
func (s *session) name() (string, error) {
	args, err := s.arguments("NAME")
	if err != nil {
		return "", err
	}
	return args[0], asUsage(policy.ValidateName(args[0]))
}

// nameInVPC is the argument, and the flag, of commands on a thing of a VPC.
func (s *session) nameInVPC() (name, vpc string, err error) {
	if name, err = s.name(); err != nil {
		return "", "", err
	}
	if vpc, err = s.required("vpc"); err != nil {
		return "", "", err
	}
	return name, vpc, asUsage(policy.ValidateName(vpc))
}

// vpcFlag names the VPC of a thing.
func vpcFlag() cli.Flag {
	return &cli.StringFlag{Name: "vpc", Usage: "`VPC` that it belongs to"}
}

// filterByVPC is the flag of lists.
func filterByVPC() cli.Flag {
	return &cli.StringFlag{Name: "vpc", Usage: "only those of this `VPC`"}
}
