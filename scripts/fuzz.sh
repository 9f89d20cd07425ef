#!/bin/bash
# Runs every fuzz target of the tree for the given time each.
#
#	scripts/fuzz.sh 10s
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}

failed=0
while read -r package; do
	targets=$(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true)
	for target in $targets; do
		echo "fuzz: $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" || failed=1
	done
done < <(go list ./...)
exit $failed
