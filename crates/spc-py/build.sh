#!/usr/bin/env bash
# Builds the extension module into the package beside this script, for tests and for work on the package itself (a wheel is
# made by `maturin build --release`): build.sh [--release]
set -euo pipefail
cd "$(dirname "$0")"
profile=debug
[ "${1:-}" = "--release" ] && profile=release
target=${CARGO_TARGET_DIR:-../../target}
cargo build -p spc-py --locked "$@"
cp "$target/$profile/lib_spc.so" python/spc/_spc.abi3.so
