// Package frame builds and reads the few kinds of packets that hostile
// scenarios send by hand. It is no general packet library: what it does not
// know it leaves as bytes.
package frame
