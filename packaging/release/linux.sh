#!/usr/bin/env bash
# Builds dist/chatgpt-platform so that it runs on glibc 2.31 and newer: run as root in an image as old as that,
# with the checkout as the working directory. .github/workflows/build.yml does.
#
#     docker run --rm -v "$PWD:/src" -w /src IMAGE packaging/release/linux.sh 3.11.15
#
# The argument names the Python: one of python-build-standalone's, optimised, with an OpenSSL inside that is kept
# up to date, which no image this old has. uv checks it against the hash that it carries for it.
set -euo pipefail
version=$1
tools=$(mktemp -d)
# The checkout belongs to another user than this container's.
git config --global --add safe.directory "$PWD"
/opt/python/cp311-cp311/bin/python -m venv "$tools/uv"
"$tools/uv/bin/pip" install --quiet --require-hashes --only-binary :all: --requirement packaging/release/uv.txt
export UV_PYTHON_INSTALL_DIR=$tools/python
"$tools/uv/bin/uv" python install --no-bin "$version"
python=$("$tools/uv/bin/uv" python find --no-project --managed-python "$version")
"$python" scripts/build.py --max-glibc 2.31
