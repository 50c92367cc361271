#!/usr/bin/env bash
# On a machine with a GPU: do weights lie where the hardware takes them from, do all kernels compute what they say, and how long
# do they take, beside PyTorch where it is installed. Needs a driver and what tests/gpu/build.sh made; nothing else.
#   run.sh [O K o k TOKENS SIZE]    the sizes that build.sh was given, numbers of tokens, as 1,16, and the size of updates
# SPC_GPU_OUT names another folder than tests/gpu/out.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${SPC_GPU_OUT:-$here/out}
[ -x "$out/gpu" ] || { echo "run tests/gpu/build.sh first, on a machine with Rust and NVRTC"; exit 1; }
timed=("${@:1:2}") checked=("${@:3:2}") tokens=("${@:5:1}") size=("${@:6:1}")
echo "== orders of fragments, positions and swizzled rows"
"$out/gpu" orders "$out/images" "${checked[@]}" "${tokens[@]}"
echo "== results"
"$out/gpu" check "$out/images" "${checked[@]}" "${tokens[@]}"
if command -v compute-sanitizer >/dev/null; then
  echo "== memory"
  compute-sanitizer --error-exitcode 1 "$out/gpu" check "$out/images" "${checked[@]}" "${tokens[@]}" | tail -1
fi
echo "== times"
: > "$out/peers.txt"
"$out/gpu" time "$out/images" "${timed[@]}" "${tokens[@]}" | tee "$out/times.txt"
"$out/gpu" updates "$out/images" "${size[@]}" | tee -a "$out/times.txt"
if python3 -c "import torch; assert torch.cuda.is_available()" 2>/dev/null; then
  echo "== peers"
  # All arguments or none.
  python3 "$here/peers.py" "${tokens[@]}" $([ $# -ge 6 ] && echo "${timed[@]}" "${size[@]}") | tee "$out/peers.txt"
else
  echo "PyTorch with CUDA is not installed: there are no peers to compare with"
fi
echo "== times by tokens"
cat "$out/times.txt" "$out/peers.txt" | grep -E " (tokens|rows) +[0-9.]+ us" | sort -s -k3,3n
echo "== table for docs/benchmarks.md"
"$out/gpu" table "$out/times.txt" "$out/peers.txt"
