// Package config makes edgenetd's configuration of flags, environment and a
// YAML file, in that order of precedence, and checks it.
//
// Out of its scope: anything that takes effect.
package config
