// Package control serves the API of api/edgenet/v1: on the control socket to
// schedulers and edgenetctl, and over the mesh to other nodes, which may ask an
// authority for changes of VPCs and groups.
//
// Out of its scope: what the calls do (internal/daemon).
package control
