#!/usr/bin/env bash
# On a machine with a GPU: are the layouts of fragments those of the hardware, do all kernels compute what they say, and how
# long do they take, beside PyTorch where it is installed. Needs a driver and what tests/gpu/build.sh made; nothing else.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out="$here/out"
[ -x "$out/gpu" ] || { echo "run tests/gpu/build.sh first, on a machine with Rust and NVRTC"; exit 1; }
echo "== layouts and results"
"$out/gpu" check "$out/images"
if command -v compute-sanitizer >/dev/null; then
  echo "== memory"
  compute-sanitizer --error-exitcode 1 "$out/gpu" check "$out/images" | tail -1
fi
echo "== times"
"$out/gpu" time "$out/images" | tee "$out/times.txt"
if python3 -c "import torch; assert torch.cuda.is_available()" 2>/dev/null; then
  echo "== peers"
  python3 "$here/peers.py" | tee "$out/peers.txt"
else
  echo "PyTorch with CUDA is not installed: there are no peers to compare with"
fi
echo "== table for docs/benchmarks.md"
cat "$out/times.txt" "$out/peers.txt" 2>/dev/null | grep -E "tokens" | sort -s -k3,3n
