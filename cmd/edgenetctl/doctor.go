package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/doctor"
)

func (e *env) doctorCommand() *cli.Command {
	return &cli.Command{
		Name:        "doctor",
		Usage:       "look at this host: what can encrypt, what is lacking, what to install or load; exit code 1 if it can carry no traffic",
		Description: "edgenetctl doctor\nedgenetctl doctor -o json",
		Action:      e.action(diagnose),
	}
}

// examineHost looks at the host that this runs on.
func examineHost(ctx context.Context) (*edgenetv1.DoctorReport, error) {
	h, err := doctor.Local()
	if err != nil {
		return nil, err
	}
	return doctor.Examine(ctx, h), nil
}

// askTimeout ends the question for edgenetd's settings, which may not be there.
const askTimeout = 2 * time.Second

// consider adds what the host must not use, by what the edgenetd says that runs on
// it.
func (s *session) consider(ctx context.Context, report *edgenetv1.DoctorReport) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	status, err := s.mesh.GetStatus(ctx, &edgenetv1.GetStatusRequest{})
	if err != nil || len(status.GetExcludedDrivers()) == 0 {
		return // the host can be looked at without
	}
	excluded := status.GetExcludedDrivers()
	report.Drivers = slices.DeleteFunc(report.GetDrivers(), func(name string) bool { return slices.Contains(excluded, name) })
	c := &edgenetv1.DoctorCheck{Name: "tunnel-drivers", State: doctor.Lacking, Found: "edgenetd must not use " + strings.Join(excluded, ", ")}
	if len(report.GetDrivers()) == 0 {
		c.State, report.Ready = doctor.Missing, false
		c.Found += ", and this host can run nothing else: it carries no traffic"
	}
	c.Advice = "if it is to use them, change edgenetd's setting tunnel-drivers and start it anew"
	report.Checks = append(report.Checks, c)
}

// diagnose needs no edgenetd: there may be none yet.
func diagnose(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	report, err := s.examine(ctx)
	if err != nil {
		return failed("look at this host", err)
	}
	s.consider(ctx, report)
	text := table(report.GetChecks(), []column[*edgenetv1.DoctorCheck]{
		{"CHECK", (*edgenetv1.DoctorCheck).GetName},
		{"STATE", (*edgenetv1.DoctorCheck).GetState},
		{"FOUND", (*edgenetv1.DoctorCheck).GetFound},
	})
	for _, c := range report.GetChecks() {
		if c.GetAdvice() != "" {
			text += printable(fmt.Sprintf("%s: %s", c.GetName(), c.GetAdvice())) + "\n"
		}
	}
	if report.GetReady() {
		text += "This host can carry traffic."
	} else {
		text += "This host cannot carry traffic, as far as could be found out."
	}
	if err := s.printAnswer(report, text); err != nil {
		return err
	}
	if !report.GetReady() {
		return errors.New("this host is not ready")
	}
	return nil
}
