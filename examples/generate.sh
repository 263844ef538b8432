#!/usr/bin/env bash
# Generates the Python stubs of the example's own contract beside it.
#   examples/generate.sh PYTHON OUT      PYTHON: an environment with requirements/stubs.txt; OUT: examples, or elsewhere
set -euo pipefail

python=$(realpath --no-symlinks "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")"

PATH="$(dirname "$python"):$PATH" # protoc finds its mypy plugins there
"$python" -m grpc_tools.protoc -I. -I../proto --python_out="$out" --mypy_out="quiet:$out" \
  --grpc_python_out="$out" --mypy_grpc_out="quiet:$out" face_tagger/face_tagger.proto
