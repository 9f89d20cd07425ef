#!/bin/bash
# Builds the tools of one group into bin/tools, each at its pinned version. A
# tool that is there at that version is left alone.
#
#	scripts/tools.sh lint|generate|bench|rules
set -euo pipefail
cd "$(dirname "$0")/.."
export GOBIN=$PWD/bin/tools
mkdir -p "$GOBIN"

# pinned MODULE/PACKAGE VERSION
pinned() {
	local binary=$GOBIN/${1##*/}
	if [[ -x $binary ]] && go version -m "$binary" | grep -q "^	mod	.*	$2\b"; then
		return
	fi
	echo "tools: building ${1##*/} $2"
	GOFLAGS=-buildvcs=false go install "$1@$2"
}

case ${1-} in
lint)
	pinned github.com/golangci/golangci-lint/v2/cmd/golangci-lint v2.15.0
	pinned honnef.co/go/tools/cmd/staticcheck v0.8.2
	pinned golang.org/x/vuln/cmd/govulncheck v1.9.0
	;;
bench)
	# docs/dependencies.md says why it is not the newest tag.
	pinned github.com/slackhq/nebula/cmd/nebula v1.11.1
	pinned github.com/slackhq/nebula/cmd/nebula-cert v1.11.1
	# wireguard-go as it comes, of go.mod's version
	pinned golang.zx2c4.com/wireguard "$(go list -m -f '{{.Version}}' golang.zx2c4.com/wireguard)"
	;;
generate)
	# Their versions are go.mod's.
	go install google.golang.org/protobuf/cmd/protoc-gen-go connectrpc.com/connect/cmd/protoc-gen-connect-go
	;;
rules)
	# Debian's, without the server that the package is of.
	if [[ ! -x $GOBIN/promtool ]]; then
		echo "tools: fetching promtool"
		folder=$(mktemp -d)
		trap 'rm -rf "$folder"' EXIT
		chmod 755 "$folder"
		(cd "$folder" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; })
		dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -x -C "$folder" ./usr/bin/promtool
		mv "$folder/usr/bin/promtool" "$GOBIN/"
	fi
	;;
*)
	echo "tools: want lint, generate, bench or rules" >&2
	exit 2
	;;
esac
