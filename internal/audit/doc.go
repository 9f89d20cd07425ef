// Package audit keeps the record of what was done against a warning, or decides
// over all nodes' traffic: who did it, when, what, and which policy tests it
// broke. It is a file of JSON lines to which is only appended, bounded by keeping
// one file of older entries.
//
// Out of its scope: who may do what.
package audit
