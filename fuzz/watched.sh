#!/bin/sh
# Compiles a crate of the workspace with its edges watched: what libFuzzer wants to know is which were taken, how
# often, and what was compared with what. Named with -C instead of -Z, so that a stable compiler takes the flags.
# `cargo xtask fuzz` lets cargo put this before the compiler, for our crates alone: libraries are those of every
# other build. What decodes for us (prost, postcard) is generic, compiled into our crates, and so watched too.
exec "$@" \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
