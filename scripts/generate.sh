#!/bin/bash
# Generates from the given .proto files, then what //go:generate asks for (the
# BPF objects).
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/bin/tools:$PATH

for proto in "$@"; do
	# api is its own root, so that foreign users import edgenet/v1/edgenet.proto.
	root=.
	[[ $proto == api/* ]] && root=api
	connect=()
	grep -q '^service ' "$proto" && connect=(--connect-go_out="$root" --connect-go_opt=paths=source_relative,simple)
	protoc -I "$root" --go_out="$root" --go_opt=paths=source_relative "${connect[@]}" "${proto#api/}"
done
go generate ./...
