// Command edgenetctl is how people and scripts talk to edgenetd on the same
// host: it turns one command line into one call on the control socket and shows
// the answer as a table, JSON or YAML.
//
// Deciding anything is out of its scope: what it checks before it asks, it checks
// only so that a slip is explained where it was made.
package main
