package config

import (
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

const manual = "../../docs/configuration.md"

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

func readManual(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The example file of the manual loads, and sets every key that there is.
func TestTheExampleFileIsComplete(t *testing.T) {
	blocks := yamlBlock.FindAllStringSubmatch(readManual(t), -1)
	if len(blocks) != 1 {
		t.Fatalf("%s has %d YAML blocks, want the example alone", manual, len(blocks))
	}
	example := blocks[0][1]
	cfg, err := loadArgs(t, "--config", writeFile(t, example))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Name != "edge-1" || len(cfg.Underlay) != 2 || cfg.Underlay[1].Carrier != "mobile" || len(cfg.ForwardFrom) != 2 {
		t.Errorf("the example gives %+v", cfg)
	}
	if cfg.LogFormat != "json" || cfg.LogLevel != slog.LevelInfo {
		t.Errorf("the example logs %s at %s", cfg.LogFormat, cfg.LogLevel)
	}
	fields := reflect.TypeFor[settings]()
	for i := range fields.NumField() {
		if key := fields.Field(i).Tag.Get("yaml"); !strings.Contains(example, "\n"+key+":") {
			t.Errorf("the example lacks %s", key)
		}
	}
}

func TestTheManualHasEverySetting(t *testing.T) {
	text := readManual(t)
	for _, f := range Flags() {
		name := f.Names()[0]
		row := "| `--" + name + " "
		if !strings.Contains(text, row) {
			t.Errorf("%s lacks --%s", manual, name)
		}
		for _, variable := range f.(cli.DocGenerationFlag).GetEnvVars() {
			if !strings.Contains(text, "`"+variable+"`") {
				t.Errorf("%s lacks %s", manual, variable)
			}
		}
	}
}
