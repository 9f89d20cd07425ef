#!/bin/bash
# Installs, with apt, what the named groups need on a bare Debian 12.
# It asks the network for nothing when everything is there already.
#
#	scripts/deps.sh build|demo|test|vm|bench|generate...
set -euo pipefail

base="ca-certificates git make"
demo="iproute2 iputils-ping curl"
ipsec="charon-systemd libcharon-extra-plugins libstrongswan-standard-plugins"
declare -A groups=(
	[build]="$base"
	[demo]="$base $demo $ipsec"
	[test]="$base $demo $ipsec gcc iperf3 libc6-dev jq openssl strongswan-swanctl wireguard-tools"
	[bench]="$base $demo $ipsec jq nftables"
	[vm]="$base $ipsec cpio kmod qemu-system-common qemu-system-x86 seabios xz-utils"
	[generate]="$base clang-19 clang-format-19 llvm-19 libbpf-dev protobuf-compiler libprotobuf-dev"
)

packages=()
for group in "$@"; do
	[[ -v "groups[$group]" ]] || { echo "deps: no group $group (there are: ${!groups[*]})" >&2; exit 2; }
	read -ra more <<<"${groups[$group]}"
	packages+=("${more[@]}")
done

installed() {
	[[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

missing=()
for package in "${packages[@]}"; do
	installed "$package" || missing+=("$package")
done
if ! command -v go >/dev/null; then
	echo "deps: go is not in PATH; edgenet needs the version that go.mod names, or newer" >&2
	exit 1
fi
((${#missing[@]})) || exit 0

if ((EUID)); then
	echo "deps: missing: ${missing[*]}; install them, or run this as root" >&2
	exit 1
fi
echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

# edgenet runs charon itself. Where the package was not there before, the service
# that came with it is nobody's.
if [[ -d /run/systemd/system && " ${missing[*]} " == *" charon-systemd "* ]]; then
	systemctl disable --now --quiet strongswan.service
fi
