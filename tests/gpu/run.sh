#!/usr/bin/env bash
# On a machine with a GPU: are the layouts of fragments those of the hardware, do all kernels compute what they say, and how
# long do they take, beside PyTorch where it is installed. Needs a driver and what tests/gpu/build.sh made; nothing else.
#   run.sh [O K o k TOKENS]    the sizes that build.sh was given, and numbers of tokens, as 1,16
# SPC_GPU_OUT names another folder than tests/gpu/out.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${SPC_GPU_OUT:-$here/out}
[ -x "$out/gpu" ] || { echo "run tests/gpu/build.sh first, on a machine with Rust and NVRTC"; exit 1; }
timed=("${@:1:2}") checked=("${@:3:2}") tokens=("${@:5:1}")
echo "== layouts and results"
"$out/gpu" check "$out/images" "${checked[@]}" "${tokens[@]}"
if command -v compute-sanitizer >/dev/null; then
  echo "== memory"
  compute-sanitizer --error-exitcode 1 "$out/gpu" check "$out/images" "${checked[@]}" "${tokens[@]}" | tail -1
fi
echo "== times"
: > "$out/peers.txt"
"$out/gpu" time "$out/images" "${timed[@]}" "${tokens[@]}" | tee "$out/times.txt"
if python3 -c "import torch; assert torch.cuda.is_available()" 2>/dev/null; then
  echo "== peers"
  python3 "$here/peers.py" | tee "$out/peers.txt"
else
  echo "PyTorch with CUDA is not installed: there are no peers to compare with"
fi
echo "== table for docs/benchmarks.md"
cat "$out/times.txt" "$out/peers.txt" | grep -E " tokens +[0-9.]+ us" | sort -s -k3,3n
