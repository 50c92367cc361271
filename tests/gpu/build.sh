#!/usr/bin/env bash
# Builds what tests/gpu/run.sh needs, into tests/gpu/out: a program and images of its kernels. Needs a Rust toolchain and NVRTC,
# no GPU. Copy the folder tests/gpu to the machine with the GPU.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
cargo build --release --locked -p spc-cuda --example gpu
mkdir -p "$here/out"
cp "${CARGO_TARGET_DIR:-target}/release/examples/gpu" "$here/out/gpu"
"$here/out/gpu" build "$here/out/images"
ls -l "$here/out" "$here/out/images"
