// Command checkstatic fails unless every named program is a static ELF binary:
// no interpreter, no shared library. It is no general ELF inspector.
package main
