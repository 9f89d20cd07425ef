package isolation

import (
	"testing"
)

// modes are the ways to attach, all of which every kernel of the tests has.
var modes = map[string]Mode{"tcx": AttachTCX, "clsact": AttachClsact}

// Two tenants with the same addresses on one host.
//
//	tenant 100: web 10.0.0.2   db 10.0.0.3
//	tenant 200: web 10.0.0.2   db 10.0.0.3
func TestTenantsOnOneHost(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, nodeA, mode)
			web, db, web2, db2 := newSpace(t), newSpace(t), newSpace(t), newSpace(t)
			h.endpoint(testVNI, "web", "10.0.0.2", web)
			h.endpoint(testVNI, "db", "10.0.0.3", db)
			h.endpoint(otherVNI, "web", "10.0.0.2", web2)
			h.endpoint(otherVNI, "db", "10.0.0.3", db2)
			h.apply()

			web.reaches("10.0.0.3")
			web2.reaches("10.0.0.3")
			db.serveTCP("10.0.0.3:80")
			c, err := web.dial("10.0.0.3:80", answerWithin)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			echoes(t, c, 4<<20)
			if c, err := web2.dial("10.0.0.3:80", answerWithin); err == nil {
				_ = c.Close()
				t.Fatal("the other tenant's server answered")
			}
			web.doesNotReach("10.0.0.1")
			web.doesNotReach("10.0.0.9")
		})
	}
}
