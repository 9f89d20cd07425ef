package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (e *env) meshHealthCommand() *cli.Command {
	return &cli.Command{
		Name: "health",
		Usage: "say what is wrong in the mesh, as this node and those that it asks see it: dead nodes, split views, unreachable pairs, clocks, " +
			"certificates, versions, refused messages; exit code 1 if there is an error",
		Description: "edgenetctl mesh health\nedgenetctl mesh health -o json\nedgenetctl mesh health --ask 5000     # of a large mesh more than 500 nodes",
		Flags: []cli.Flag{
			&cli.UintFlag{Name: "ask", Usage: "how many `NODES` are asked at most; 500 unless given"},
		},
		Action: e.action(meshHealth),
	}
}

func meshHealth(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	const most = 1 << 20 // more nodes than any mesh has
	answer, err := call(ctx, s.health.GetHealth, &edgenetv1.GetHealthRequest{Ask: uint32(min(s.flags.Uint("ask"), most))})
	if err != nil {
		return failed("look at the mesh", err)
	}
	if err := s.printAnswer(answer, s.healthText(answer)); err != nil {
		return err
	}
	if !answer.GetHealthy() {
		return fmt.Errorf("the mesh is not well: %s", tally(answer.GetFindings()))
	}
	return nil
}

// healthText has a paragraph for each finding.
func (s *session) healthText(h *edgenetv1.GetHealthResponse) string {
	var b strings.Builder
	for _, f := range h.GetFindings() {
		since, who := "", ""
		if f.GetSince() != nil {
			since = " (since " + s.when(f.GetSince()) + ")"
		}
		if by := f.GetSaidBy(); len(by) > 0 {
			who = ", by the word of " + list(by)
		}
		fmt.Fprintf(&b, "%s: %s%s%s\n", f.GetSeverity(), printable(f.GetMessage()), since, printable(who))
		if f.GetAdvice() != "" {
			fmt.Fprintf(&b, "  %s\n", printable(f.GetAdvice()))
		}
	}
	if len(h.GetFindings()) == 0 {
		b.WriteString("nothing is wrong\n")
	} else {
		b.WriteString(tally(h.GetFindings()) + "\n")
	}
	fmt.Fprintf(&b, "%d of %d nodes are alive for %s; %d others were asked, %d answered",
		h.GetNodesAlive(), h.GetNodesTotal(), printable(h.GetNode()), h.GetAsked(), h.GetAnswered())
	return b.String()
}

// tally counts findings by severity.
func tally(findings []*edgenetv1.Finding) string {
	count := map[string]int{}
	for _, f := range findings {
		count[f.GetSeverity()]++
	}
	var words []string
	for _, severity := range []string{"error", "warning", "note"} {
		switch n := count[severity]; {
		case n == 1:
			words = append(words, "1 "+severity)
		case n > 1:
			words = append(words, fmt.Sprintf("%d %ss", n, severity))
		}
	}
	return strings.Join(words, ", ")
}
