#!/bin/bash
# Generates everything anew and fails when that changes a byte. It compares with
# what was in the tree, so it also holds in a tree with uncommitted work.
set -euo pipefail
cd "$(dirname "$0")/.."

sums() {
	find api bpf pkg internal cmd \
		\( -name '*.pb.go' -o -name '*.connect.go' -o -name '*_bpfel.go' -o -name '*_bpfel.o' -o -name '*_string.go' \) \
		-exec sha256sum {} + | sort -k 2
}

before=$(sums)
scripts/deps.sh generate
scripts/tools.sh generate
scripts/generate.sh "$@"
if ! difference=$(diff <(echo "$before") <(sums)); then
	echo "generate-check: these were not what their sources give; run make generate and commit:" >&2
	awk '/^[<>]/ { print "  " $3 }' <<<"$difference" | sort -u >&2
	exit 1
fi
