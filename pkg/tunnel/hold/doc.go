// Package hold keeps the first packets to peers whose tunnel is not there yet,
// until it is: IPsec drops what comes before its keys, and what is sent to a peer
// that was not configured a moment ago has nowhere to go.
//
// The packets come in by a TUN device that only redirects lead to: it has no
// address and no route. They leave into tunnel devices alone, so that none can be
// sent in clear, and what waits ends with the process, as the device does.
//
// Out of scope: which tunnels are to be begun, and what leads packets here.
package hold
