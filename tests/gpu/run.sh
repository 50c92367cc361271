#!/usr/bin/env bash
# On a machine with a GPU: do weights lie where the hardware takes them from, do all kernels compute what they say, and how long
# do they take, beside PyTorch where it is installed. Needs a driver and what tests/gpu/build.sh made; nothing else.
#   run.sh [O K o k TOKENS SIZE]    the sizes that build.sh was given, numbers of tokens, as 1,16, and the size of updates
# Every step has a time limit and a process of its own, so that a failure of one, or of the driver under it, leaves the others;
# the last table says how each went. Exit 1 where one of ours failed; peers may.
# SPC_GPU_OUT names another folder than tests/gpu/out, SPC_GPU_LIMIT other seconds than 120 a step, PYTHON another python.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${SPC_GPU_OUT:-$here/out}
limit=${SPC_GPU_LIMIT:-120}
[ -f "$out/gpu" ] || { echo "run tests/gpu/build.sh first, on a machine with Rust and NVRTC"; exit 1; }
# Copying may lose the bit.
chmod +x "$out/gpu" 2>/dev/null
if ! layouts=$("$out/gpu" layouts . 2>&1); then
  echo "$out/gpu does not start here: $layouts"
  echo "build it on a machine with the same or an older system"
  exit 1
fi
timed=("${@:1:2}") checked=("${@:3:2}") tokens=("${@:5:1}") size=("${@:6:1}")
# Containers have the driver in places that the loader does not know.
if [ -z "${SPC_LIBCUDA:-}" ] && ! ldconfig -p 2>/dev/null | grep -q libcuda.so.1; then
  for f in /usr/local/nvidia/lib64 /usr/lib64 /usr/lib/x86_64-linux-gnu /usr/lib/wsl/lib /usr/local/cuda/compat; do
    [ -e "$f/libcuda.so.1" ] && { export SPC_LIBCUDA="$f/libcuda.so.1"; break; }
  done
fi
command -v nvidia-smi >/dev/null && timeout 20 nvidia-smi --query-gpu=name,driver_version,clocks.sm,memory.total --format=csv,noheader
failed=0
: > "$out/steps.txt"; : > "$out/times.txt"; : > "$out/peers.txt"

# within COMMAND..: with the limit, where there is such a command.
within() {
  if command -v timeout >/dev/null; then timeout -k 10 "$limit" "$@"; else "$@"; fi
}
# step NAME FILE COMMAND..: its output goes to FILE as well. Ours, unless the name starts with "peer".
step() {
  local name=$1 file=$2 begun=$SECONDS code said
  shift 2
  echo "-- $name"
  within "$@" 2>&1 | tee "$out/last.txt"
  code=${PIPESTATUS[0]}
  cat "$out/last.txt" >> "$file"
  if [ "$code" = 0 ]; then
    said=ok
  else
    said="FAILED ($code): $(grep -v '^ *$' "$out/last.txt" | tail -1 | cut -c1-160)"
    [ "$code" = 124 ] && said="stopped after $limit s"
    case $name in peer*) ;; *) failed=1 ;; esac
  fi
  echo "| $name | $((SECONDS - begun)) | $said |" >> "$out/steps.txt"
}
# each NAME FILE WHAT ARGUMENTS..: a step for each layout.
each() {
  local name=$1 file=$2 layout
  shift 2
  for layout in $layouts; do
    SPC_GPU_ONLY=$layout step "$name $layout" "$file" "$out/gpu" "$@"
  done
}

echo "== orders of fragments, positions and swizzled rows"
step orders /dev/null "$out/gpu" orders "$out/images" "${checked[@]}" "${tokens[@]}"
echo "== results"
step results /dev/null "$out/gpu" check "$out/images" "${checked[@]}" "${tokens[@]}"
echo "== times"
each times "$out/times.txt" time "$out/images" "${timed[@]}" "${tokens[@]}"
step updates "$out/times.txt" "$out/gpu" updates "$out/images" "${size[@]}"
echo "== peers"
python=${PYTHON:-$(command -v python3 || command -v python)}
if [ -z "$python" ]; then
  echo "there is no python: there are no peers to compare with"
elif why=$(within "$python" -c "import torch; assert torch.cuda.is_available(), 'PyTorch sees no GPU'" 2>&1); then
  # All arguments or none.
  for peer in dense sparse eager int4 bsr copy; do
    SPC_PEERS=$peer step "peer $peer" "$out/peers.txt" "$python" "$here/peers.py" "${tokens[@]}" \
      $([ $# -ge 6 ] && echo "${timed[@]}" "${size[@]}")
  done
else
  echo "PyTorch with CUDA is not installed ($(echo "$why" | tail -1)): there are no peers to compare with"
fi
if command -v compute-sanitizer >/dev/null; then
  echo "== memory"
  step "results under compute-sanitizer" /dev/null compute-sanitizer --error-exitcode 1 "$out/gpu" check "$out/images" \
    "${checked[@]}" "${tokens[@]}"
fi
echo "== times by tokens"
cat "$out/times.txt" "$out/peers.txt" | grep -E " (tokens|rows) +[0-9.]+ us" | sort -s -k3,3n
echo "== table for docs/benchmarks.md"
"$out/gpu" table "$out/times.txt" "$out/peers.txt" || failed=1
echo "== steps"
printf '| step | s | |\n| --- | --- | --- |\n'
cat "$out/steps.txt"
exit $failed
