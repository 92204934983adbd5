#!/usr/bin/env bash
# Installs what building and testing Meridian need and this machine lacks. Says what it does, never asks, and
# does nothing where nothing is missing.
set -euo pipefail

RUST_MIN=1.90

# To build: a C++ compiler and libclang for RocksDB, mold to link.
build=(build-essential mold libclang-dev git ca-certificates)
# To test with real processes: namespaces, packet filters, loop disks, a clock that can be moved.
faults=(iproute2 iptables e2fsprogs faketime mount util-linux)
# Worth having where the distribution has it.
wanted=(sccache)

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

is_installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "must be root, or have sudo, to run: $*"
    fi
}

apt_install() {
    say "installing $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "$@" </dev/null
}

install_packages() {
    local missing=() package
    for package in "${build[@]}" "${faults[@]}"; do
        is_installed "$package" || missing+=("$package")
    done
    for package in "${wanted[@]}"; do
        command -v "$package" >/dev/null || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "asking apt for ${missing[*]}"
    as_root apt-get update --quiet </dev/null || say "apt-get update failed; going on with the lists that are here"
    local available=()
    for package in "${missing[@]}"; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            available+=("$package")
        elif [[ " ${wanted[*]} " == *" $package "* ]]; then
            say "$package is not packaged here; going on without it"
        else
            die "$package is not packaged here; install it by other means and run this again"
        fi
    done
    [ "${#available[@]}" -eq 0 ] || apt_install "${available[@]}"
}

rust_version() {
    cargo --version 2>/dev/null | cut --delimiter=' ' --fields=2 || true
}

is_new_enough() {
    [ -n "$1" ] && [ "$(printf '%s\n%s\n' "$RUST_MIN" "$1" | sort --version-sort | head --lines=1)" = "$RUST_MIN" ]
}

check_rust() {
    local have
    have=$(rust_version)
    if [ -z "$have" ] && command -v apt-cache >/dev/null && apt-cache show rustup >/dev/null 2>&1; then
        apt_install rustup
        rustup default stable
        have=$(rust_version)
    fi
    if ! is_new_enough "$have"; then
        die "Rust ${have:-(none)} is too old: Meridian needs $RUST_MIN or newer.
       With rustup: \`rustup update stable\`. Without it: follow https://rustup.rs, which takes a minute
       and needs no root, then run this again."
    fi
    local component
    for component in fmt clippy; do
        cargo "$component" --version >/dev/null 2>&1 && continue
        command -v rustup >/dev/null || die "cargo $component is missing; install it as you installed Rust"
        rustup component add "${component/fmt/rustfmt}"
    done
    say "Rust $have, $(mold --version 2>/dev/null | head --lines=1 || echo 'no mold'), sccache $(command -v sccache || echo 'not used')"
}

if command -v apt-get >/dev/null; then
    install_packages
else
    say "this is no Debian-like system; it should have what these packages hold: ${build[*]} ${faults[*]}"
fi
check_rust
