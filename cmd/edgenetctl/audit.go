package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (e *env) auditCommand() *cli.Command {
	return &cli.Command{
		Name:        "audit",
		Usage:       "see who did what as an authority: tokens, nodes that joined, evictions, keys, backups, and what was forced",
		Description: "edgenetctl audit list",
		Subcommands: []*cli.Command{{
			Name:        "list",
			Usage:       "list what was done on this node as an authority, and by whom: tokens made, nodes admitted and evicted, keys replaced and backed up, changes of the tunnel policy and of grants, what was forced or removed; the oldest first",
			Description: "edgenetctl audit list",
			Action:      e.action(listAudit),
		}},
	}
}

func listAudit(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	answer, err := call(ctx, s.policies.ListAudit, &edgenetv1.ListAuditRequest{})
	if err != nil {
		return failed("list audit entries", err)
	}
	return printList(s, "audit entries", answer.GetEntries(), []column[*edgenetv1.AuditEntry]{
		{"TIME", func(e *edgenetv1.AuditEntry) string { return e.GetTime().AsTime().Format("2006-01-02T15:04:05Z") }},
		{"WHO", (*edgenetv1.AuditEntry).GetWho},
		{"VPC", (*edgenetv1.AuditEntry).GetVpc},
		{"WHAT", func(e *edgenetv1.AuditEntry) string {
			if e.GetFailed() == "" {
				return e.GetWhat()
			}
			return e.GetWhat() + " (failed: " + e.GetFailed() + ")"
		}},
		{"BROKE", func(e *edgenetv1.AuditEntry) string {
			var tests []string
			for _, t := range e.GetBroken() {
				tests = append(tests, t.GetAssertion())
			}
			return strings.Join(tests, "; ")
		}},
	})
}
