#!/usr/bin/env bash
# Builds dist/chatgpt-platform with a Python of its own, in the checkout that is the working directory:
#
#     packaging/release/build.sh 3.11.18 [arguments of scripts/build.py]
#
# That Python is one of python-build-standalone's: optimised, and with an OpenSSL inside that is kept up to date,
# which neither an image old enough for glibc 2.31 has nor the last Windows installer of a Python line. uv checks it
# against the hash that it carries for it. PYTHON_FOR_UV names the Python that runs pip before; on Windows this is
# for the bash that comes with git. .github/workflows/build.yml calls it.
set -euo pipefail
version=$1
shift
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
bin=bin
if command -v cygpath >/dev/null; then # Windows
    tools=$(cygpath -m "$tools")
    bin=Scripts
fi
"${PYTHON_FOR_UV:-python3}" -m venv "$tools/uv"
"$tools/uv/$bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    --requirement packaging/release/uv.txt
export UV_PYTHON_INSTALL_DIR=$tools/python
"$tools/uv/$bin/uv" python install --no-bin "$version"
python=$("$tools/uv/$bin/uv" python find --no-project --managed-python "$version")
"$python" scripts/build.py "$@"
