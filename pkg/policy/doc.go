// Package policy is security groups as pure Go: what a rule may say, how people
// write it, what it does to packets, and the verdict tables that a datapath
// looks packets up in.
//
// An endpoint is ruled by all the groups that it carries together. Of the rules
// that match a packet, the one with the lowest priority number decides; among
// equals a denial does. What comes in and is matched by no rule is dropped. What
// goes out and is matched by none is allowed, until one of the groups has an
// egress rule that allows something. Replies to what was allowed are allowed
// too, which is for the datapath to know: the tables judge only the first packet
// of a flow, in the direction in which the flow began.
//
// [Compile] turns one VPC into tables whose look-ups cost the same however many
// rules there are: each address is given an [Identity] (the groups that it
// carries and the CIDR that it falls in), and a [Table] maps (identity,
// protocol) to sorted port intervals. Identities and tables are named by hashes
// of what they stand for, so they have the same names on every host and after
// every restart. A [Compiler] does it again after a change, at the cost of the
// change.
//
// [VPC.Explain] answers the same questions one flow at a time and in words. It
// shares no code with the compiler, so each is a check of the other.
//
// Out of scope: the kernel, I/O, time, connection tracking, and which addresses
// exist, which is for the caller to say.
package policy
