package daemon

// Departures counts the detaches that wait for a round.
func (d *Daemon) Departures() int {
	w := &d.network.departures
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.wait)
}

// TellOfTunnels tells those who watch tunnels of so many changes, of rounds to come.
func (d *Daemon) TellOfTunnels(n int) {
	for range n {
		d.tunnels.watchers.tell(d.tunnels.current().round+1000, []tunnelEvent{{kind: tunnelRekeyed}})
	}
}
