#!/usr/bin/env bash
# Builds what tests/gpu/run.sh needs, into tests/gpu/out: a program and images of its kernels. Needs a Rust toolchain and NVRTC,
# no GPU. Copy the folder tests/gpu to the machine with the GPU.
#   build.sh [O K o k]    other sizes to time and to check; run.sh takes the same
# SPC_GPU_PROGRAM names a program that is built already; SPC_GPU_OUT another folder than tests/gpu/out.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${SPC_GPU_OUT:-$here/out}
mkdir -p "$out"
if [ -n "${SPC_GPU_PROGRAM:-}" ]; then
  cp "$SPC_GPU_PROGRAM" "$out/gpu"
else
  cd "$here/../.."
  cargo build --release --locked -p spc-cuda --example gpu
  cp "${CARGO_TARGET_DIR:-target}/release/examples/gpu" "$out/gpu"
fi
"$out/gpu" build "$out/images" "$@"
echo "$(find "$out/images" -type f | wc -l) images in $out/images"
