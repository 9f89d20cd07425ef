package isolation

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// effort is what the verifier may find in a program: instructions that it follows
// on all ways together, of 1,000,000 that any kernel follows, and the deepest
// stack of a chain of calls in bytes, of 512. It is a budget, so that it does not
// grow unseen; whoever needs more raises it here, by what the failure says and a
// few percent, and says why.
// The walks over options and extension headers are written so that kernel 6.1
// follows them, which has newer ones follow half as much again and more. A
// packet knows the place of its other side since it is looked up only where the
// flow does not remember it: that is 8 bytes in each program, and a pointer. A
// verdict is looked for in up to 128 cells, twice.
var effort = map[string]struct{ instructions, onOlder, stack int }{
	edgenetProgFromEndpoint: {265_000, 320_000, 480},
	edgenetProgFromTunnel:   {210_000, 210_000, 480},
}

// tellsStatesApart is the first kernel that takes more of the states in which it
// comes to an instruction for the same; older ones follow them all.
const tellsStatesApart = "6.8"

// isOlder tells whether the running kernel is older than a version such as 6.8.
func isOlder(t *testing.T, than string) bool {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	number := func(version string) (n int) {
		major, rest, _ := strings.Cut(version, ".")
		minor, _, _ := strings.Cut(rest, ".")
		for _, part := range []string{major, minor} {
			p, err := strconv.Atoi(strings.TrimRight(part, "-+abcdefghijklmnopqrstuvwxyz"))
			if err != nil {
				t.Fatalf("read kernel version %q: %v", version, err)
			}
			n = n<<16 + p
		}
		return n
	}
	return number(unix.ByteSliceToString(name.Release[:])) < number(than)
}

var (
	processed  = regexp.MustCompile(`processed (\d+) insns`)
	stackDepth = regexp.MustCompile(`stack depth ([\d+]+)`)
)

func TestProgramsStayWithinTheirBudget(t *testing.T) {
	s := newSpace(t)
	spec, err := loadEdgenet()
	if err != nil {
		t.Fatal(err)
	}
	options := ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats}}
	loaded := in(s, func() (*ebpf.Collection, error) { return ebpf.NewCollectionWithOptions(spec, options) })
	defer loaded.Close()
	for name, program := range loaded.Programs {
		budget, ok := effort[name]
		if !ok {
			t.Errorf("program %s has no budget", name)
		}
		log := program.VerifierLog
		t.Logf("%s: %s", name, log)
		match := processed.FindStringSubmatch(log)
		if match == nil {
			t.Fatalf("the verifier does not say what it did with %s: %q", name, log)
		}
		most := budget.instructions
		if isOlder(t, tellsStatesApart) {
			most = budget.onOlder
		}
		if n, _ := strconv.Atoi(match[1]); n > most || n == 0 {
			t.Errorf("%s: the verifier follows %d instructions, more than %d", name, n, most)
		}
		deepest, chain := stackOf(t, spec.Programs[name].Instructions, log)
		t.Logf("%s: %d bytes of stack: %s", name, deepest, chain)
		if deepest > budget.stack {
			t.Errorf("%s: a chain of calls has %d bytes of stack, more than %d: %s", name, deepest, budget.stack, chain)
		}
	}
}

// stackOf is the stack of the deepest chain of calls in bytes, and the chain. The
// verifier tells that of each function, in the order in which they stand in the
// program.
func stackOf(t *testing.T, instructions asm.Instructions, log string) (bytes int, path string) {
	t.Helper()
	match := stackDepth.FindStringSubmatch(log)
	if match == nil {
		t.Fatalf("the verifier does not say how deep stacks are: %q", log)
	}
	depths := strings.Split(match[1], "+")
	var names []string
	own, calls := make(map[string]int), make(map[string][]string)
	for _, ins := range instructions {
		if name := ins.Symbol(); name != "" {
			if len(names) == len(depths) {
				t.Fatalf("more functions than the %d stacks that the verifier tells of", len(depths))
			}
			depth, err := strconv.Atoi(depths[len(names)])
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
			own[name] = (max(depth, 1) + 31) / 32 * 32 // as the verifier rounds
		}
		if ins.IsFunctionCall() {
			from := names[len(names)-1]
			calls[from] = append(calls[from], ins.Reference())
		}
	}
	if len(names) != len(depths) {
		t.Fatalf("%d functions and %d stacks", len(names), len(depths))
	}
	var chain func(name string) (int, string)
	chain = func(name string) (int, string) {
		deepest, path := 0, ""
		for _, to := range calls[name] {
			if n, p := chain(to); n > deepest {
				deepest, path = n, " > "+p
			}
		}
		return own[name] + deepest, fmt.Sprintf("%s %d%s", name, own[name], path)
	}
	return chain(names[0])
}
