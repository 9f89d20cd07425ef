// Package metrics tells Prometheus how a node stands: what `edgenetctl status`, `node
// list`, `tunnel list` and `endpoint list` say, read anew at each scrape, and how long
// the API's calls take. It is served over plain HTTP on an address of its own, and only
// if one is set.
//
// Names and units follow https://prometheus.io/docs/practices/naming/.
//
// Out of its scope: keeping anything between scrapes, who may read, rules and alerts.
package metrics
