package ipsec

import (
	"fmt"
	"strings"
)

// plugins are those that are loaded. libipsec has to come before netlink, which
// still does routes and addresses then.
const (
	plugins       = "random nonce openssl kdf pem pkcs1 pkcs8 pubkey socket-default kernel-netlink vici"
	pluginsTUN    = "random nonce openssl kdf pem pkcs1 pkcs8 pubkey socket-default kernel-libipsec kernel-netlink vici"
	routeTable    = 10101
	routePriority = 32800
)

// settings returns charon's configuration, one setting to a line. What it does
// not say is strongSwan's default; files of /etc are not read.
//
// kernel-libipsec insists on routes of its own. They go to a table that is
// looked at after the main one, whose route of the mesh always comes first.
//
// A peer that does not answer is given up after 32 s: 1 s that grows by a half
// with each of 6 retransmissions.
//
// What is begun is an IKE SA of its own: one that is there may be just what is broken, or
// about to end.
func settings(kind Kind, dir string, port uint16) string {
	load, table, priority := plugins, 0, 0
	if kind == KindUserspace {
		load, table, priority = pluginsTUN, routeTable, routePriority
	}
	var b strings.Builder
	line := func(depth int, format string, args ...any) {
		b.WriteString(strings.Repeat("  ", depth))
		fmt.Fprintf(&b, format+"\n", args...)
	}
	line(0, "charon {")
	line(1, "load = %s", load)
	line(1, "port = 0")
	line(1, "port_nat_t = %d", port)
	line(1, "install_routes = no")
	line(1, "install_virtual_ip = no")
	line(1, "routing_table = %d", table)
	line(1, "routing_table_prio = %d", priority)
	line(1, "retransmit_timeout = 1.0")
	line(1, "retransmit_base = 1.5")
	line(1, "retransmit_tries = 6")
	line(1, "retry_initiate_interval = 0")
	line(1, "reuse_ikesa = no")
	line(1, "delete_rekeyed_delay = 5")
	line(1, "filelog {")
	line(2, "edgenet {")
	line(3, "path = %s", logPath(dir))
	line(3, "append = yes")
	line(3, "flush_line = yes")
	line(3, "time_format = %%FT%%T")
	line(3, "time_add_ms = yes")
	line(3, "default = 1")
	line(3, "esp = 0") // else a line for each packet without an SA
	line(2, "}")
	line(1, "}")
	line(1, "plugins {")
	line(2, "vici {")
	line(3, "socket = unix://%s", socketPath(dir))
	line(2, "}")
	line(1, "}")
	line(0, "}")
	line(0, "charon-systemd {")
	line(1, "journal {")
	line(2, "default = -1")
	line(1, "}")
	line(0, "}")
	return b.String()
}
