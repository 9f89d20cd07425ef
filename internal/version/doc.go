// Package version says which build of edgenet this is. How builds are compared
// or distributed is out of its scope.
package version
