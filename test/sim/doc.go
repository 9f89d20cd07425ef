// Package sim measures how the mesh scales. It runs the real pkg/mesh, as many
// nodes as asked for in one process, over a network in memory (package wan), in
// the virtual time of testing/synctest: memberlist, TLS, signatures and databases
// are those of edgenetd, and only sockets and clocks are not.
//
// Because computing takes no virtual time, a simulated mesh is never starved: what
// it says of latency holds for nodes that have processor time to spare, and what
// its processor time is, is measured apart.
package sim
