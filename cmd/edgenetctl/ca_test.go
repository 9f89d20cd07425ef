package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A backup is written once, for its owner alone, and can be restored; the passphrase
// comes from a file or stdin, and is never shown.
func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	out, secret := filepath.Join(dir, "mesh.backup"), filepath.Join(dir, "passphrase")
	if err := os.WriteFile(secret, []byte("correct horse battery\nnot this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := mesh()
	got := tool(t.Context(), f.serve(t), "", "ca", "backup", "--out", out, "--passphrase-file", secret)
	if got.code != 0 || !strings.HasPrefix(got.stdout, out+" has the mesh's key") {
		t.Fatalf("%+v", got)
	}
	if want := []string{`BackupAuthority {"passphrase":"correcthorsebattery"}`}; !slices.Equal(f.requests, want) {
		t.Errorf("asked %s, want %s", f.requests, want)
	}
	info, err := os.Stat(out)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	text, err := os.ReadFile(out)
	if err != nil || !strings.HasPrefix(string(text), "age-encryption.org/v1") {
		t.Errorf("it has %q, %v", text, err)
	}
	f = mesh()
	got = tool(t.Context(), f.serve(t), "correct horse battery\n", "ca", "restore", "--in", out, "--passphrase-file", "-")
	if got.code != 0 || got.stdout != "node cloud-1 (aa00000001) is an authority of mesh beef, address fdbe:efaa:0:1::1\n" {
		t.Errorf("%+v", got)
	}
	for args, want := range map[string]string{
		"ca backup --out " + out + " --passphrase-file " + secret:        "something is there already",
		"ca backup --passphrase-file " + secret:                          "--out is missing",
		"ca backup --out " + out + "2":                                   "there is no terminal",
		"ca backup --out " + out + "2 --passphrase-file -":               "the passphrase is empty",
		"ca restore --passphrase-file " + secret:                         "--in is missing",
		"ca restore --in " + dir + "/none --passphrase-file " + secret:   "read backup",
		"ca restore --in " + out + " --passphrase-file " + dir + "/none": "read passphrase",
	} {
		f := mesh()
		got := tool(t.Context(), f.serve(t), "", strings.Fields(args)...)
		if got.code == 0 || !strings.Contains(got.stderr, want) || strings.Contains(got.stderr, "horse") || len(f.requests) != 0 {
			t.Errorf("%s: %+v, asked %v", args, got, f.requests)
		}
	}
}
