#!/usr/bin/env bash
# Applies each planted bug to a copy of the tree and runs the tests that must catch it.
#   run.sh               all of them
#   run.sh NAME ..       these
#   run.sh --rotate N    N of them, others on another day
# A planted bug is a file NAME.patch here: first line `# PACKAGES`, the packages to test, then a patch of one line.
# Exit 0 when every bug was caught: it compiled, and a test failed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
mapfile -t all < <(cd "$here" && ls -- *.patch | sed 's/\.patch$//')
picked=("${all[@]}")
if [ "${1:-}" = "--rotate" ]; then
  picked=()
  day=$(( $(date +%s) / 86400 ))
  for i in $(seq 0 $(( $2 - 1 ))); do picked+=("${all[$(( (day * $2 + i) % ${#all[@]} ))]}"); done
elif [ $# -gt 0 ]; then
  picked=("$@")
fi

tree="$top/target/mutant-tree"
export CARGO_TARGET_DIR="$top/target" CARGO_TERM_COLOR=never INSTA_UPDATE=no
missed=0
for name in "${picked[@]}"; do
  patch="$here/$name.patch"
  rm -rf "$tree" && mkdir -p "$tree"
  (cd "$top" && git ls-files -z --cached --others --exclude-standard | xargs -0 tar cf -) | tar xf - -C "$tree"
  if ! (cd "$tree" && patch -p1 --quiet --fuzz=0 < <(grep -v '^# ' "$patch")); then
    echo "$name: the patch does not apply"; missed=1; continue
  fi
  # The tree keeps the times of the original files, so cargo would take what an earlier bug left behind for current.
  (cd "$tree" && sed -n 's|^+++ b/||p' "$here"/*.patch | sort -u | xargs touch)
  flags=$(sed -n '1s/^# //p' "$patch" | tr ' ' '\n' | sed 's/^/-p /' | tr '\n' ' ')
  log="$top/target/mutant-$name.log"
  # shellcheck disable=SC2086
  if ! (cd "$tree" && cargo test --locked --offline $flags --no-run > "$log" 2>&1); then
    echo "$name: does not compile (see $log)"; missed=1; continue
  fi
  # shellcheck disable=SC2086
  if (cd "$tree" && timeout 900 cargo test --locked --offline $flags >> "$log" 2>&1); then
    echo "$name: NOT CAUGHT"; missed=1
  else
    echo "$name: caught by $(grep -m1 -oE '^test .* FAILED' "$log" | sed 's/^test //; s/ \.\.\. FAILED//' || echo 'a test')"
  fi
done
rm -rf "$tree"
exit $missed
