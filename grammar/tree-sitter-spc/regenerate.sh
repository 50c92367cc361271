#!/usr/bin/env bash
# Writes the generated parser anew after a change of grammar.js, and the hash of grammar.js that the tests compare.
# Needs tree-sitter-cli 0.27.1: `cargo install tree-sitter-cli@0.27.1 --locked`.
set -euo pipefail
cd "$(dirname "$0")"
want="tree-sitter 0.27.1"
have=$(tree-sitter --version)
case "$have" in "$want"*) ;; *) echo "found $have; the committed parser is made by $want"; exit 1 ;; esac
tree-sitter generate
sha256sum grammar.js | cut -d' ' -f1 > src/grammar.js.sha256
