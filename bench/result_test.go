package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTargetsDecideThePass(t *testing.T) {
	for _, test := range []struct {
		name string
		row  result
		pass bool
	}{
		{"no target", medianOf("x", "us", []float64{99}), true},
		{"below a lower bound", medianOf("x", "ratio", []float64{0.94}).atLeast(0.95), false},
		{"at a lower bound", medianOf("x", "ratio", []float64{0.95}).atLeast(0.95), true},
		{"at an upper bound", medianOf("x", "ms", []float64{10}).atMost(10), true},
		{"above an upper bound", medianOf("x", "ms", []float64{10.01}).atMost(10), false},
	} {
		if test.row.Pass != test.pass {
			t.Errorf("%s: pass is %t", test.name, test.row.Pass)
		}
	}
}

// What a host cannot measure is named with the reason, wherever results are shown.
func TestWhatIsMissingIsNamed(t *testing.T) {
	row := missing("kernel/tcp", "Mbit/s", errors.New("needs CONFIG_X"))
	if row.Pass {
		t.Error("it passes")
	}
	var table strings.Builder
	if err := printTable(&table, []result{row}); err != nil || !strings.Contains(table.String(), "not measured") ||
		!strings.Contains(table.String(), "needs CONFIG_X") {
		t.Errorf("the table is %q, %v", table.String(), err)
	}
	path := filepath.Join(t.TempDir(), "results.json")
	for _, test := range []struct {
		rows []result
		fine bool
	}{
		{[]result{row, medianOf("x", "us", []float64{1})}, true},
		{[]result{row, medianOf("x", "us", []float64{2}).atMost(1)}, false},
	} {
		if err := writeResults(path, test.rows); err != nil {
			t.Fatal(err)
		}
		said, err := exec.Command("../scripts/bench-check.sh", path).CombinedOutput()
		if (err == nil) != test.fine || !strings.Contains(string(said), "ABSENT kernel/tcp: needs CONFIG_X") {
			t.Errorf("bench-check: %v, %s", err, said)
		}
	}
}

// The kernel counts in lines of names and lines of figures.
func TestACounterIsFoundByItsName(t *testing.T) {
	const text = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams RcvbufErrors\nUdp: 7 42\nUdpLite: InDatagrams RcvbufErrors\nUdpLite: 0 1\n"
	if got, err := snmpCounter(text, "Udp:", "RcvbufErrors"); got != 42 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := snmpCounter(text, "Udp:", "OutDatagrams"); err == nil {
		t.Error("a counter is found that is not there")
	}
}

func TestValueIsThatOfTheSamplesAsWritten(t *testing.T) {
	row := medianOf("x", "ratio", []float64{0.949961, 0.9, 2})
	if row.Value != 0.95 || !slices.Contains(row.Samples, row.Value) {
		t.Errorf("value %g of samples %v", row.Value, row.Samples)
	}
}

func TestResultsAreAListOfSixFields(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "results.json")
	rows := []result{
		medianOf("overlay/x", "ratio", []float64{0.5, 0.7, 0.6}).atLeast(0.95),
		medianOf("overlay/y", "us", []float64{3}),
	}
	for range 2 { // the second replaces the first
		if err := writeResults(path, rows); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var read []map[string]any
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if len(read) != 2 {
		t.Fatalf("%d rows, want 2:\n%s", len(read), text)
	}
	for _, field := range []string{"name", "value", "unit", "target", "pass", "samples"} {
		for _, row := range read {
			if _, ok := row[field]; !ok || len(row) != 6 {
				t.Errorf("want six fields with %s: %v", field, row)
			}
		}
	}
	if read[0]["value"] != 0.6 || read[0]["target"] != 0.95 || read[0]["pass"] != false {
		t.Errorf("a missed target is written as %v", read[0])
	}
	if read[1]["target"] != nil || read[1]["pass"] != true {
		t.Errorf("a row without a target is written as %v", read[1])
	}
	if left, _ := filepath.Glob(filepath.Dir(path) + "/*"); len(left) != 1 {
		t.Errorf("files left: %v", left)
	}
}

func TestTableSaysWhatWasMissed(t *testing.T) {
	var out strings.Builder
	err := printTable(&out, []result{
		medianOf("overlay/good", "ratio", []float64{1, 2, 3}).atLeast(0.95),
		medianOf("overlay/bad", "ms", []float64{11}).atMost(10),
		medianOf("overlay/known", "us", []float64{5}),
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	for i, words := range [][]string{
		{"NAME", "TARGET"},
		{"overlay/good", ">= 0.95", "ok", "3, 1 to 3"},
		{"overlay/bad", "<= 10", "MISSED"},
		{"overlay/known", "-"},
	} {
		for _, word := range words {
			if !strings.Contains(lines[i], word) {
				t.Errorf("line %d: want %q in %q", i, word, lines[i])
			}
		}
	}
}
