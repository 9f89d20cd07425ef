#!/bin/bash
# Fails when a benchmark in the given results missed its target. What this host
# could not measure is named, and fails nothing.
set -euo pipefail
results=${1:-bench/results.json}

[[ -s $results ]] || { echo "bench-check: $results is not there; run make bench" >&2; exit 1; }
jq -r '.[] | if .missing then "ABSENT \(.name): \(.missing)"
	else "\(if .pass then "ok    " else "MISSED" end) \(.name) \(.value) \(.unit) (target \(.target))" end' "$results"
jq -e 'length > 0 and all(.pass or .missing != null)' "$results" >/dev/null
