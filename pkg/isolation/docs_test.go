package isolation

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const datapathPage = "../../docs/datapath.md"

// Every row of the tables of packets names the tests that prove it, and all of them
// exist, where the page says; so do those that are named elsewhere on it.
func TestTheDatapathPageNamesTestsThatExist(t *testing.T) {
	page := readPage(t)
	here, scenarios := testsIn(t, "."), testsIn(t, "../../test/netns")
	for _, name := range regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]+)`").FindAllStringSubmatch(page, -1) {
		if !here[name[1]] && !scenarios[name[1]] {
			t.Errorf("there is no %s", name[1])
		}
	}
	// E, E6, T and T6 are short for tests that the page explains.
	explained := map[string]bool{}
	for _, match := range regexp.MustCompile("\\b([ET]6?)\\s+(?:is\\s+)?`Test").FindAllStringSubmatch(page, -1) {
		explained[match[1]] = true
	}
	for _, row := range packetRows(t, page) {
		proof := row[len(row)-1]
		if strings.HasPrefix(proof, "none: ") {
			continue
		}
		named := regexp.MustCompile("`Test[A-Za-z0-9]+`|\\b([ET]6?)\\b").FindAllStringSubmatch(proof, -1)
		if len(named) == 0 {
			t.Errorf("%q names no test", row[0])
		}
		for _, name := range named {
			if name[1] != "" && !explained[name[1]] {
				t.Errorf("%q names %s, which the page does not explain", row[0], name[1])
			}
		}
		for _, name := range regexp.MustCompile("`(Test[A-Za-z0-9]+)` in test/netns").FindAllStringSubmatch(proof, -1) {
			if !scenarios[name[1]] {
				t.Errorf("%q names %s in test/netns, which has none", row[0], name[1])
			}
		}
	}
}

// The tables have every reason there is, and no other.
func TestTheDatapathPageHasEveryReason(t *testing.T) {
	reasons, err := DropReasons()
	if err != nil {
		t.Fatal(err)
	}
	told, known := map[string]bool{}, map[string]bool{}
	for _, row := range packetRows(t, readPage(t)) {
		for _, name := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(row[2], -1) {
			told[name[1]] = true
		}
	}
	for _, name := range reasons {
		if known[name] = true; !told[name] {
			t.Errorf("no row has %s", name)
		}
	}
	for name := range told {
		if !known[name] {
			t.Errorf("%s is told of, and no reason", name)
		}
	}
}

func readPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(datapathPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// packetRows fails if there are fewer rows than the page ever had: then it is not
// read as it is meant.
func packetRows(t *testing.T, page string) [][]string {
	t.Helper()
	rows := tableRows(page)
	if len(rows) < 60 {
		t.Fatalf("the tables of packets have %d rows", len(rows))
	}
	return rows
}

// tableRows are the cells of the rows of tables whose last column is "test".
func tableRows(page string) [][]string {
	var rows [][]string
	tests := false
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "|") {
			tests = false
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch last := cells[len(cells)-1]; {
		case last == "test":
			tests = true
		case tests && !strings.HasPrefix(last, "---"):
			rows = append(rows, cells)
		}
	}
	return rows
}

// testsIn are the names of the tests of a folder.
func testsIn(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", folder, err)
	}
	names := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range function.FindAllStringSubmatch(string(text), -1) {
			names[match[1]] = true
		}
	}
	return names
}
