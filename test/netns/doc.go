// Package netns has the whole-system scenarios: the real programs, as child
// processes in network namespaces, on real packets. Each scenario is a story
// under a drawing; the language that they are written in is package lab.
package netns
