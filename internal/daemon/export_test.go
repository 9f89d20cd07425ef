package daemon

// Departures counts the detaches that wait for a round.
func (d *Daemon) Departures() int {
	w := &d.network.departures
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.wait)
}
