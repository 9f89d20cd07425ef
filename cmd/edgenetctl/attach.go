package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/policy"
)

const (
	// netnsDir is where `ip netns` keeps its names.
	netnsDir = "/run/netns"
	// macLength is the length of an Ethernet address in bytes.
	macLength = 6
)

func (e *env) attachCommand() *cli.Command {
	return &cli.Command{
		Name:      "attach",
		Usage:     "connect a namespace, a tap or a device of this node to a VPC",
		ArgsUsage: "NAME --vpc VPC --ip ADDRESS... [--prefix PREFIX]... [--group GROUP]... [--mac MAC] (--netns PATH [--ifname eth0] | --tap NAME | --device NAME)",
		Description: "edgenetctl endpoint attach web-1 --vpc blue --ip 10.0.0.7 --group web --netns /run/netns/web-1\n" +
			"edgenetctl endpoint attach vm-1 --vpc blue --ip 10.0.0.8 --group web,db --tap tap-vm-1\n" +
			"edgenetctl endpoint attach web-2 --vpc blue --ip 10.0.0.7 --ip fd00:1::7 --prefix 10.0.0.100/32 --netns web-2\n" +
			"edgenetctl endpoint attach rack-1 --vpc blue --ip 10.0.0.9 --mac 02:00:00:00:00:09 --device eth3",
		Flags: []cli.Flag{
			vpcFlag(),
			&cli.StringSliceFlag{Name: "ip", Usage: "`ADDRESS` of the endpoint in the VPC, IPv4 or IPv6; repeatable, the first is the primary one"},
			&cli.StringSliceFlag{Name: "prefix", Usage: "`PREFIX` behind it: a nested network, or as 10.0.0.100/32 an address shared with others; repeatable"},
			&cli.StringSliceFlag{Name: "group", Usage: "security `GROUP` that it carries; repeatable"},
			&cli.StringFlag{Name: "mac", Usage: "`MAC` address of the endpoint (default given or learned)"},
			&cli.StringFlag{Name: "netns", Usage: "`PATH` of a container's network namespace, or its name in " + netnsDir},
			&cli.StringFlag{Name: "ifname", Usage: "`NAME` of the interface in the namespace (default eth0)"},
			&cli.StringFlag{Name: "tap", Usage: "`NAME` of a VM's tap, made if it is not there"},
			&cli.StringFlag{Name: "device", Usage: "`NAME` of a device of the host, behind which a server is"},
		},
		Action: e.action(attachEndpoint),
	}
}

func attachEndpoint(ctx context.Context, s *session) error {
	request, err := s.attachRequest()
	if err != nil {
		return asUsage(err)
	}
	answer, err := call(ctx, s.endpoints.AttachEndpoint, request)
	if err != nil {
		return failed("attach endpoint "+request.GetName(), err)
	}
	p := answer.GetEndpoint()
	return s.printAnswer(p, printable(fmt.Sprintf("endpoint %s attached to VPC %s: %s, MAC %s, device %s, %s",
		p.GetName(), p.GetVpc(), list(ips(p)), orDash(p.GetMac()), orDash(p.GetDevice()), endpointState(p))))
}

// attachRequest reads the command line.
func (s *session) attachRequest() (*edgenetv1.AttachEndpointRequest, error) {
	name, vpc, err := s.nameInVPC()
	if err != nil {
		return nil, err
	}
	request := &edgenetv1.AttachEndpointRequest{Name: name, Vpc: vpc, Groups: s.flags.StringSlice("group")}
	if err := s.setAddresses(request); err != nil {
		return nil, err
	}
	for _, group := range request.Groups {
		if err := policy.ValidateName(group); err != nil {
			return nil, usagef("--group: %v", err)
		}
	}
	if request.Mac, err = parseMAC(s.flags.String("mac")); err != nil {
		return nil, err
	}
	return request, s.setTarget(request)
}

// setAddresses reads addresses and prefixes.
func (s *session) setAddresses(request *edgenetv1.AttachEndpointRequest) error {
	for _, text := range s.flags.StringSlice("ip") {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return usagef("--ip %q is no address: write one as 10.0.0.7", text)
		}
		request.Ips = append(request.Ips, addr.String())
	}
	if len(request.GetIps()) == 0 {
		return usagef("--ip is missing")
	}
	request.Ip, request.Ips = request.GetIps()[0], request.GetIps()[1:]
	for _, text := range s.flags.StringSlice("prefix") {
		prefix, err := parsePrefix("prefix", text)
		if err != nil {
			return err
		}
		request.Prefixes = append(request.Prefixes, prefix.String())
	}
	return nil
}

// setTarget reads which one of namespace, tap and device is attached.
func (s *session) setTarget(request *edgenetv1.AttachEndpointRequest) error {
	netns, tap, device := s.flags.String("netns"), s.flags.String("tap"), s.flags.String("device")
	given := 0
	for _, value := range []string{netns, tap, device} {
		if value != "" {
			given++
		}
	}
	if given != 1 {
		return usagef("give exactly one of --netns, --tap and --device")
	}
	if netns == "" && s.flags.IsSet("ifname") {
		return usagef("--ifname goes with --netns only")
	}
	switch {
	case netns != "":
		path, err := netnsPath(netns)
		if err != nil {
			return err
		}
		request.Target = &edgenetv1.AttachEndpointRequest_Netns{
			Netns: &edgenetv1.NetnsTarget{Path: path, Ifname: s.flags.String("ifname")},
		}
	case tap != "":
		request.Target = &edgenetv1.AttachEndpointRequest_Tap{Tap: &edgenetv1.TapTarget{Name: tap}}
	default:
		request.Target = &edgenetv1.AttachEndpointRequest_Device{Device: &edgenetv1.DeviceTarget{Name: device}}
	}
	return nil
}

// netnsPath is a namespace's path as edgenetd, which has another working
// directory, finds it.
func netnsPath(value string) (string, error) {
	if !strings.Contains(value, "/") {
		return filepath.Join(netnsDir, value), nil
	}
	path, err := filepath.Abs(value)
	if err != nil {
		return "", fmt.Errorf("make %s absolute: %w", value, err)
	}
	return path, nil
}

// parseMAC brings an Ethernet address into its usual form; none stays none.
func parseMAC(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != macLength {
		return "", usagef("--mac %q is no Ethernet address: write one as 02:00:00:00:00:01", text)
	}
	return mac.String(), nil
}
