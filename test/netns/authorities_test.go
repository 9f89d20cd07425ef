package netns

import (
	"fmt"
	"path/filepath"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// The host that made the mesh is lost, and the second authority goes on; then that is
// lost too, and a fresh host becomes one by a backup. Tenants notice nothing.
//
//	cloud-1     cloud-2: db 10.0.0.2     edge-1: web 10.0.0.3     cloud-3
func TestAuthoritiesAreLostAndRestored(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("cloud-1", "edge-1")
	first, edge := hosts[0], hosts[1]
	second, fresh := l.Host("cloud-2"), l.Host("cloud-3")
	second.Start()
	second.Join(first.Token("--role", "authority"))
	l.AwaitMesh(first, second, edge)
	first.VPC("blue", "10.0.0.0/24")
	first.Group("blue", "all", open)
	db, web := second.Container("db"), edge.Container("web")
	db.Attach("blue", "10.0.0.2", "all")
	web.Attach("blue", "10.0.0.3", "all")
	web.Reaches(db, "icmp")
	ping := web.Pings(db.IP)

	l.Await("the second authority has the mesh's key", func() error {
		if got := second.Ctl("token", "create"); got.Code != 0 {
			return fmt.Errorf("it says %s", got.Stderr)
		}
		return nil
	})
	first.Kill()
	second.MustCtl("node", "evict", "cloud-1")
	second.MustCtl("vpc", "create", "green", "--cidr", "10.1.0.0/24")
	edge.CtlFails([]string{"not an authority"}, "ca", "backup", "--out", filepath.Join(t.TempDir(), "b"), "--passphrase-file", passphraseFile(t))
	backup := filepath.Join(t.TempDir(), "mesh.backup")
	second.MustCtl("ca", "backup", "--out", backup, "--passphrase-file", passphraseFile(t))
	second.Kill()

	fresh.Start()
	wrong := filepath.Join(t.TempDir(), "wrong")
	writeFile(t, wrong, "not what it was\n")
	fresh.CtlFails([]string{"the passphrase is not that of the backup", "nothing was changed"}, "ca", "restore", "--in", backup, "--passphrase-file", wrong)
	fresh.MustCtl("ca", "restore", "--in", backup, "--passphrase-file", passphraseFile(t))
	for _, pair := range [][2]*lab.Host{{fresh, edge}, {edge, fresh}} {
		l.Await(fmt.Sprintf("%s sees %s", pair[0], pair[1]), func() error {
			n, err := pair[0].Node(pair[1].Name)
			if err == nil && n.GetState() != "alive" {
				err = fmt.Errorf("it is %s", n.GetState())
			}
			return err
		})
	}
	fresh.MustCtl("vpc", "show", "green")
	fresh.MustCtl("token", "create")
	l.Await("the restored authority is obeyed", func() error {
		if got := edge.Ctl("vpc", "create", "red", "--cidr", "10.2.0.0/24"); got.Code != 0 {
			return fmt.Errorf("it says %s", got.Stderr)
		}
		return nil
	})
	if log := fresh.MustCtl("audit", "list"); !containsAll(log, "an authority by a backup", "failed", "create token for 1 nodes") {
		t.Errorf("the audit log lacks it:\n%s", log)
	}
	ping.Loses(0)
}

// passphraseFile has the passphrase of the test's backups.
func passphraseFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passphrase")
	writeFile(t, path, "words drawn at random\n")
	return path
}
