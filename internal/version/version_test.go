package version

import (
	"runtime/debug"
	"testing"
)

func TestDescribe(t *testing.T) {
	tests := []struct {
		name     string
		settings []debug.BuildSetting
		want     string
	}{
		{"nothing recorded", nil, "v1.2.3"},
		{"a clean tree", []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "false"}}, "v1.2.3 (0123456789ab)"},
		{"a changed tree", []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: "0123"}}, "v1.2.3 (0123-dirty)"},
		{"changes to nothing", []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}}, "v1.2.3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := describe("v1.2.3", commitOf(tt.settings)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestStringIsNeverEmpty(t *testing.T) {
	if String() == "" || Version == "" {
		t.Errorf("String() = %q, Version = %q", String(), Version)
	}
}
