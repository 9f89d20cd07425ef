// Package lab is the language of whole-system scenarios: hosts that run the
// real edgenetd, containers that are real processes, and expectations that are
// awaited and explain themselves when they fail.
//
//	host "edge-1"            host "edge-2"          each a network namespace with its own
//	  web  db                  web                  edgenetd, state and socket; containers
//	   └─┬──┘                   │                   are namespaces held by an agent process
//	  edgenetd               edgenetd
//	     └── 198.18.0.0/24 ─────┘                   a bridge in the lab's own "internet"
//
// Everything has a name that is unique to the process, so labs run side by side.
// At its end a lab takes everything down by the daemons' own means and fails the
// test if anything is left: a namespace, device, route, process, socket, BPF
// program or map; or if a daemon's log has a panic or a data race.
//
// Tests, benchmarks and the demo use it. Out of its scope: other machines, and
// traffic to anywhere but the lab's own namespaces.
package lab
