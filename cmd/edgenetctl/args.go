package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// commandLine is what was typed, in order: flags may stand anywhere, before and
// after the command and its arguments, which urfave/cli itself cannot do.
type commandLine struct {
	// path are the commands, outermost first.
	path []*cli.Command
	// global and local are flags as --name=value, in the order typed.
	global, local []string
	args          []string
	help          bool
	// pending is a flag at the end that still has no value.
	pending string
}

// argv is the command line as urfave/cli understands it.
func (l *commandLine) argv() []string {
	argv := append(l.words()[:1:1], l.global...)
	argv = append(argv, l.words()[1:]...)
	argv = append(argv, l.local...)
	return append(append(argv, "--"), l.args...)
}

// words are the program and the commands.
func (l *commandLine) words() []string {
	words := []string{program}
	for _, c := range l.path {
		words = append(words, c.Name)
	}
	return words
}

// hint is one line that says what would be right.
func (l *commandLine) hint() string {
	if len(l.path) == 0 {
		return fmt.Sprintf("see: %s help", program)
	}
	command := l.path[len(l.path)-1]
	if len(command.Subcommands) > 0 {
		return fmt.Sprintf("see: %s --help", strings.Join(l.words(), " "))
	}
	return "usage: " + l.usage()
}

// usage is the synopsis of the last command.
func (l *commandLine) usage() string {
	words := l.words()
	if len(l.path) == 0 {
		return program + " [--socket PATH] [-o table|json|yaml] COMMAND ..."
	}
	command := l.path[len(l.path)-1]
	if len(command.Subcommands) > 0 {
		return strings.Join(append(words, strings.Join(names(command.Subcommands), "|")), " ")
	}
	if command.ArgsUsage != "" {
		words = append(words, command.ArgsUsage)
	}
	return strings.Join(words, " ")
}

// subcommands are those that may follow.
func (l *commandLine) subcommands(app *cli.App) []*cli.Command {
	if len(l.path) == 0 {
		return app.Commands
	}
	return l.path[len(l.path)-1].Subcommands
}

// arrange reads a command line, without the program's name, against the
// commands and their flags. The result is of use, if not whole, with an error too.
func arrange(app *cli.App, args []string) (*commandLine, error) {
	l := &commandLine{}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		var err error
		switch {
		case word == "--":
			l.args = append(l.args, args...)
			args = nil
		case len(word) > 1 && word[0] == '-':
			args, err = l.addFlag(app, word, args)
		default:
			err = l.addWord(app, word)
		}
		if err != nil {
			return l, err
		}
	}
	next := l.subcommands(app)
	if len(next) == 0 || l.help {
		return l, nil
	}
	if len(l.args) > 0 {
		return l, usagef("unknown command %q", l.args[0])
	}
	return l, usagef("which command? %s", strings.Join(names(next), ", "))
}

// addWord takes a command's name or an argument.
func (l *commandLine) addWord(app *cli.App, word string) error {
	next := l.subcommands(app)
	if len(next) == 0 {
		l.args = append(l.args, word)
		return nil
	}
	if word == "help" && len(l.path) == 0 {
		l.help = true
		return nil
	}
	for _, c := range next {
		if c.Name == word {
			l.path = append(l.path, c)
			return nil
		}
	}
	return usagef("unknown command %q: there are %s", word, strings.Join(names(next), ", "))
}

// addFlag takes a flag and, where it has one, its value; it returns the words
// that are left.
func (l *commandLine) addFlag(app *cli.App, word string, rest []string) ([]string, error) {
	name, value, hasValue := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-"), "=")
	if name == "help" || name == "h" {
		l.help = true
		return rest, nil
	}
	if name == "version" && len(l.path) == 0 && !hasValue {
		return rest, l.addWord(app, name)
	}
	into := &l.local
	flag := findFlag(l.flags(), name)
	if flag == nil {
		into = &l.global
		flag = findFlag(app.Flags, name)
	}
	if flag == nil {
		return rest, usagef("unknown flag %s", word)
	}
	if _, isSwitch := flag.(*cli.BoolFlag); isSwitch && !hasValue {
		value, hasValue = "true", true
	}
	if !hasValue {
		if len(rest) == 0 {
			l.pending = flag.Names()[0]
			return rest, usagef("flag %s has no value", word)
		}
		value, rest = rest[0], rest[1:]
	}
	*into = append(*into, "--"+flag.Names()[0]+"="+value)
	return rest, nil
}

// value is what a flag was last given; empty if it was not.
func (l *commandLine) value(flag string) string {
	for _, typed := range slices.Backward(slices.Concat(l.global, l.local)) {
		if value, ok := strings.CutPrefix(typed, "--"+flag+"="); ok {
			return value
		}
	}
	return ""
}

// flags are the flags of the last command.
func (l *commandLine) flags() []cli.Flag {
	if len(l.path) == 0 {
		return nil
	}
	return l.path[len(l.path)-1].Flags
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return nil
	}
	return flags[i]
}

func names(commands []*cli.Command) []string {
	var list []string
	for _, c := range commands {
		list = append(list, c.Name)
	}
	return list
}
