package main

import (
	"context"
	"math"
	"time"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

// maxTTL is the longest life that edgenetd gives a token.
const maxTTL = 30 * 24 * time.Hour

func (e *env) tokenCommand() *cli.Command {
	return &cli.Command{
		Name:        "token",
		Usage:       "make tokens to join the mesh with",
		Description: "edgenetctl token create",
		Subcommands: []*cli.Command{{
			Name:      "create",
			Usage:     "print a new join token; only an authority can",
			ArgsUsage: "[--ttl 1h] [--uses 1] [--role edge|cloud|gateway|relay|authority]...",
			Description: "edgenetctl token create\n" +
				"edgenetctl token create --ttl 15m --uses 20 --role edge --role relay",
			Flags: []cli.Flag{
				&cli.DurationFlag{Name: "ttl", Usage: "`DURATION` of its life, at most 720h (default 1h)", Value: time.Hour},
				&cli.IntFlag{Name: "uses", Usage: "`NUMBER` of nodes that may join with it (default 1)", Value: 1},
				&cli.StringSliceFlag{Name: "role", Usage: "`ROLE` that it gives: edge, cloud, gateway, relay or authority; repeatable (default edge)"},
			},
			Action: e.action(createToken),
		}},
	}
}

func createToken(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	ttl, uses, roles := s.flags.Duration("ttl"), s.flags.Int("uses"), s.flags.StringSlice("role")
	if ttl < time.Second || ttl > maxTTL || ttl%time.Second != 0 {
		return usagef("--ttl %s is not possible: write whole seconds from 1s to %s", brief(ttl), brief(maxTTL))
	}
	if uses < 1 || uses > math.MaxUint32 {
		return usagef("--uses %d is not possible: write 1 or more", uses)
	}
	if len(roles) == 0 {
		roles = []string{"edge"}
	}
	answer, err := call(ctx, s.mesh.CreateToken, &edgenetv1.CreateTokenRequest{
		TtlSeconds: uint64(ttl / time.Second),
		Uses:       uint32(uses),
		Roles:      roles,
	})
	if err != nil {
		return failed("create token", err)
	}
	return s.printAnswer(answer, answer.GetToken())
}
