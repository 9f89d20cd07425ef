// Package events says what a change of an object is called, and where in a log of
// such changes somebody is. It is pure: where events are kept is eventlog's
// business, and how objects come about the daemon's.
package events
