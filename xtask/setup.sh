#!/usr/bin/env bash
# Installs what building and testing Meridian need and this machine lacks. Says what it does, never asks, and
# does nothing where nothing is missing.
set -euo pipefail

RUST_MIN=1.90

# To build: a C++ compiler and libclang for RocksDB, mold to link.
build=(build-essential mold libclang-dev git ca-certificates curl)
# To test with real processes: namespaces, packet filters, loop disks, a clock that can be moved.
faults=(iproute2 iptables e2fsprogs xfsprogs faketime mount util-linux)
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

# The official installer, checked against its published sum. Installs for this user only.
install_rust() {
    local target folder
    target="$(uname -m)-unknown-linux-gnu"
    folder=$(mktemp --directory)
    say "no Rust here: installing it for this user with rustup"
    local from="https://static.rust-lang.org/rustup/dist/$target"
    if ! curl --fail --silent --show-error --location --proto '=https' --retry 3 \
        --output "$folder/rustup-init" "$from/rustup-init" \
        || ! curl --fail --silent --show-error --location --proto '=https' --retry 3 \
            --output "$folder/rustup-init.sha256" "$from/rustup-init.sha256"; then
        rm --recursive --force "$folder"
        die "rustup could not be downloaded; install Rust $RUST_MIN or newer by other means and run this again"
    fi
    local want have
    want=$(cut --delimiter=' ' --fields=1 "$folder/rustup-init.sha256")
    have=$(sha256sum "$folder/rustup-init" | cut --delimiter=' ' --fields=1)
    [ "$want" = "$have" ] || die "the downloaded rustup-init is damaged: its sum is $have, not $want"
    chmod +x "$folder/rustup-init"
    "$folder/rustup-init" -y --quiet --profile minimal --component clippy --component rustfmt </dev/null
    rm --recursive --force "$folder"
    export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    hash -r
}

check_rust() {
    local have
    have=$(rust_version)
    if [ -z "$have" ]; then
        install_rust
        have=$(rust_version)
    fi
    if ! is_new_enough "$have"; then
        die "Rust ${have:-(none)} is too old: Meridian needs $RUST_MIN or newer.
       With rustup: \`rustup update stable\`. From a distribution: remove it and run this again."
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
