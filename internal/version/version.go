package version

import "runtime/debug"

// Version is the release, set by the linker:
//
//	go build -ldflags '-X edgenet.dev/edgenet/internal/version.Version=v1.2.3'
var Version = "dev"

// shortCommit is how many digits of a commit people are shown.
const shortCommit = 12

// Commit is the revision that the Go command recorded, shortened, with "-dirty"
// behind it if the tree had changes; empty if none was recorded.
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return commitOf(info.Settings)
}

// String is the version and, where known, the commit: "v1.2.3 (0123456789ab)".
func String() string { return describe(Version, Commit()) }

func describe(version, commit string) string {
	if commit == "" {
		return version
	}
	return version + " (" + commit + ")"
}

func commitOf(settings []debug.BuildSetting) string {
	var revision, suffix string
	for _, s := range settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(len(s.Value), shortCommit)]
		case "vcs.modified":
			if s.Value == "true" {
				suffix = "-dirty"
			}
		}
	}
	if revision == "" {
		return ""
	}
	return revision + suffix
}
