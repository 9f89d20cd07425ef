// Package eventlog keeps what happened, in order and numbered, in a file that
// outlives the daemon, together with what each object was after the last event. The
// two are always of the same moment: who knows a revision can be told all that came
// after it, and who knows none is told what there is and from where to go on.
//
// One goroutine adds; any number read, each at its own pace, and none holds up
// another: a reader has a place in the log and no queue. What is read is on disk
// already. The log is bounded and forgets its oldest events; a reader whose place is
// forgotten is told so.
package eventlog
