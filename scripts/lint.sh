#!/bin/bash
# Every linter over the whole tree; all of them run, whichever fails.
set -uo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/bin/tools
failed=()

run() {
	echo "lint: $1"
	"${@:2}" || failed+=("$1")
}

sources() { find bpf -name '*.[ch]' -print0 2>/dev/null; }
clang_format() { sources | xargs -0 -r clang-format-19 --dry-run -Werror; }

run golangci-lint "$tools/golangci-lint" run ./...
run golangci-fmt "$tools/golangci-lint" fmt --diff
run staticcheck "$tools/staticcheck" ./...
run govulncheck scripts/vulncheck.sh
run clang-format clang_format

if ((${#failed[@]})); then
	echo "lint: failed: ${failed[*]}" >&2
	exit 1
fi
