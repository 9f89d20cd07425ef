package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

const (
	// maxPassphrase and maxBackup bound what is read from files.
	maxPassphrase = 4 << 10
	maxBackup     = 8 << 20
)

func (e *env) caCommand() *cli.Command {
	by := &cli.StringFlag{Name: "passphrase-file", Usage: "`FILE` whose first line is the passphrase, - for stdin (default: ask on the terminal)"}
	return &cli.Command{
		Name:        "ca",
		Usage:       "keep what makes a node an authority of the mesh",
		Description: "edgenetctl ca backup --out mesh.backup --passphrase-file passphrase",
		Subcommands: []*cli.Command{
			{
				Name:      "backup",
				Usage:     "write the mesh's key, encrypted with a passphrase, to a new file; only an authority can",
				ArgsUsage: "--out FILE [--passphrase-file FILE]",
				Description: "edgenetctl ca backup --out mesh.backup --passphrase-file passphrase\n" +
					"edgenetctl ca backup --out mesh.backup --passphrase-file - < passphrase",
				Flags:  []cli.Flag{&cli.StringFlag{Name: "out", Usage: "`FILE` to make, which must not be there"}, by},
				Action: e.action(backupAuthority),
			}, {
				Name:        "restore",
				Usage:       "make this node, which is in no mesh, an authority of the mesh that a backup is of",
				ArgsUsage:   "--in FILE [--passphrase-file FILE]",
				Description: "edgenetctl ca restore --in mesh.backup --passphrase-file passphrase",
				Flags:       []cli.Flag{&cli.StringFlag{Name: "in", Usage: "`FILE` that ca backup has written"}, by},
				Action:      e.action(restoreAuthority),
			},
		},
	}
}

func backupAuthority(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	path := s.flags.String("out")
	if path == "" {
		return usagef("--out is missing: name the file to make")
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return usagef("--out %s: something is there already; name a new file", path)
	}
	passphrase, err := s.passphrase(askTwice)
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.mesh.BackupAuthority, &edgenetv1.BackupAuthorityRequest{Passphrase: passphrase})
	if err != nil {
		return failed("back up authority", err)
	}
	if err := writeNew(path, answer.GetBackup()); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return s.printAnswer(&edgenetv1.BackupAuthorityResponse{}, printable(fmt.Sprintf(
		"%s has the mesh's key, for whoever has the passphrase; keep them apart, and away from this host", path)))
}

func restoreAuthority(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	path := s.flags.String("in")
	if path == "" {
		return usagef("--in is missing: name the file that ca backup has written")
	}
	backup, err := readBounded(path, maxBackup)
	if err != nil {
		return fmt.Errorf("read backup: %w", err)
	}
	passphrase, err := s.passphrase(askOnce)
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.mesh.RestoreAuthority, &edgenetv1.RestoreAuthorityRequest{Backup: backup, Passphrase: passphrase})
	if err != nil {
		return failed("restore authority", err)
	}
	return s.printAnswer(answer, printable(fmt.Sprintf("node %s (%s) is an authority of mesh %s, address %s",
		answer.GetNode().GetName(), answer.GetNode().GetId(), answer.GetMeshId(), answer.GetNode().GetAddress())))
}

// readBounded reads a file that has at most so many bytes.
func readBounded(path string, limit int64) (text []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return text, err
}

// writeNew makes a file that only its owner can read, whole or not at all.
func writeNew(path string, text []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// How often somebody is asked for a passphrase: a mistake in that of a new backup
// would be found when it is needed.
type asking int

const (
	askOnce  asking = 1
	askTwice asking = 2
)

// passphrase reads one: from a file, from stdin, or from the terminal, which does not
// show it. It is never an argument, for others see these.
func (s *session) passphrase(times asking) (string, error) {
	switch path := s.flags.String("passphrase-file"); path {
	case "":
		return s.askPassphrase(times)
	case "-":
		text, err := io.ReadAll(io.LimitReader(s.stdin, maxPassphrase))
		if err != nil {
			return "", fmt.Errorf("read passphrase from stdin: %w", err)
		}
		return firstLine(text)
	default:
		text, err := readBounded(path, maxPassphrase)
		if err != nil {
			return "", fmt.Errorf("read passphrase: %w", err)
		}
		return firstLine(text)
	}
}

func firstLine(text []byte) (string, error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
		return "", usagef("the passphrase is empty")
	}
	return string(line), nil
}

func (s *session) askPassphrase(times asking) (string, error) {
	terminal, ok := s.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return "", usagef("there is no terminal to ask for the passphrase: give --passphrase-file")
	}
	first := ""
	for i := range times {
		words := "Passphrase: "
		if i > 0 {
			words = "The same again: "
		}
		if _, err := fmt.Fprint(s.stderr, words); err != nil {
			return "", err
		}
		text, err := term.ReadPassword(int(terminal.Fd()))
		_, werr := fmt.Fprintln(s.stderr)
		if err = errors.Join(err, werr); err != nil {
			return "", fmt.Errorf("read passphrase: %w", err)
		}
		if i > 0 && string(text) != first {
			return "", usagef("the two are not the same")
		}
		first = string(text)
	}
	return firstLine([]byte(first))
}
