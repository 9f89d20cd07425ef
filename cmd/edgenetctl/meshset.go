package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

// requireGrants is the name of the one setting of a mesh.
const requireGrants = "require-grants"

func (e *env) meshCommand() *cli.Command {
	return &cli.Command{
		Name:        "mesh",
		Usage:       "look at the mesh as a whole, and change what holds everywhere",
		Description: "edgenetctl mesh show",
		Subcommands: []*cli.Command{
			e.meshHealthCommand(),
			{
				Name:        "show",
				Usage:       "show the settings of the mesh, and what comes of them",
				Description: "edgenetctl mesh show",
				Action:      e.action(showMesh),
			},
			{
				Name:      "set",
				Usage:     "change a setting of the mesh, on an authority",
				ArgsUsage: requireGrants + " on|off [--grant-existing] [--force]",
				Description: "edgenetctl mesh set require-grants on --grant-existing\n" +
					"edgenetctl mesh set require-grants off",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "grant-existing", Usage: "give endpoints that are attached and have no grant one that does not expire, before grants are required"},
					&cli.BoolFlag{Name: "force", Usage: "make the change even if it cuts endpoints off, or puts in force what was not granted"},
				},
				Action: e.action(setMesh),
			},
		},
	}
}

func showMesh(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	answer, err := call(ctx, s.grants.GetMeshSettings, &edgenetv1.GetMeshSettingsRequest{})
	if err != nil {
		return failed("show mesh", err)
	}
	m := answer.GetSettings()
	return s.printAnswer(m, details([]detail{
		{"Require grants", s.requiresGrants(m)},
		{"Grants", fmt.Sprint(m.GetGrants())},
		{"Not granted", fmt.Sprintf("%s, in force nowhere", plural(int(m.GetUngranted()), "claim", "claims"))},
	}))
}

// requiresGrants says whether grants are required, or when they will be.
func (s *session) requiresGrants(m *edgenetv1.MeshSettings) string {
	switch {
	case !m.GetRequireGrants():
		return "off"
	case m.GetRequiredFrom() != nil:
		return "on, " + s.when(m.GetRequiredFrom())
	default:
		return "on"
	}
}

func setMesh(ctx context.Context, s *session) error {
	args, err := s.arguments("which setting", "on or off")
	if err != nil {
		return err
	}
	on := args[1] == "on"
	switch {
	case args[0] != requireGrants:
		return usagef("no setting %q: there is %s", args[0], requireGrants)
	case !on && args[1] != "off":
		return usagef("%s %q is not possible: write on or off", requireGrants, args[1])
	}
	answer, err := call(ctx, s.grants.SetMeshSettings, &edgenetv1.SetMeshSettingsRequest{
		RequireGrants: &on, GrantExisting: s.flags.Bool("grant-existing"), Force: s.flags.Bool("force"),
	})
	if err != nil {
		return failed("set "+requireGrants, err)
	}
	text := fmt.Sprintf("%s: %s", requireGrants, s.requiresGrants(answer.GetSettings()))
	if n := answer.GetGranted(); n > 0 {
		text += fmt.Sprintf("; %s made for what is attached", plural(int(n), "grant", "grants"))
	}
	return s.printAnswer(answer, text)
}
