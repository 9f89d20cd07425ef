// Package daemon is where the four libraries meet: it derives from the mesh's
// records what this host shall be, and makes tunnels and datapath equal to it,
// again and again, whatever happened in between.
//
// Two loops own the two kinds of kernel state: tunnels (devices, peers) and
// network (endpoints, datapath). Each is poked, never told what changed.
//
// Out of its scope: the form of the control API on the wire (internal/control),
// settings (internal/config), the payloads of records (internal/records).
package daemon
