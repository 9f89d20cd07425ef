// Package policy is security groups as pure Go: what a rule may say, how people
// write it, which packets it permits, and the verdict tables that a datapath
// looks packets up in.
//
// A group's rules permit; nothing forbids. An endpoint is ruled by all the
// groups that it carries together. Nothing comes in that no ingress rule
// permits. Everything goes out until one of its groups has an egress rule; from
// then on only what egress rules permit. Replies to what was permitted are
// permitted too, which is for the datapath to know: the tables judge only the
// first packet of a flow, in the direction in which the flow began.
//
// [Compile] turns one VPC into tables whose look-ups cost the same however many
// rules there are: each address is given an [Identity] (the groups that it
// carries and the CIDRs that it falls in), and a [Table] maps (identity,
// protocol) to sorted port intervals. Both are named by hashes of their content,
// so the same content has the same name on every host and after every restart.
//
// [VPC.Explain] answers the same questions one flow at a time and in words. It
// shares no code with the compiler, so each is a check of the other.
//
// Out of scope: the kernel, I/O, time, connection tracking, and which addresses
// exist, which is for the caller to say.
package policy
