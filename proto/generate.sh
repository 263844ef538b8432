#!/usr/bin/env bash
# Generates the Python stubs of the contract into OUT/consentry/v1; files it once made and no longer makes are removed.
#   proto/generate.sh PYTHON OUT      PYTHON: an environment with requirements/stubs.txt
set -euo pipefail
shopt -s nullglob

python=$(realpath --no-symlinks "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")"

files=(consentry/v1/*.proto)
if [ ${#files[@]} -eq 0 ]; then
  echo "no proto files in proto/consentry/v1" >&2
  exit 1
fi
# gRPC code only for files with services: an empty *_pb2_grpc.py would still have to be imported and typed
services=()
for file in "${files[@]}"; do
  if grep -Eq '^service ' "$file"; then services+=("$file"); fi
done

PATH="$(dirname "$python"):$PATH" # protoc finds its mypy plugins there
rm -f "$out"/consentry/v1/*_pb2.py* "$out"/consentry/v1/*_pb2_grpc.py*
"$python" -m grpc_tools.protoc -I. --python_out="$out" --mypy_out="quiet:$out" "${files[@]}"
if [ ${#services[@]} -gt 0 ]; then
  "$python" -m grpc_tools.protoc -I. --grpc_python_out="$out" --mypy_grpc_out="quiet:$out" "${services[@]}"
fi
