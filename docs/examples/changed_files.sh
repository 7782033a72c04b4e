#!/usr/bin/env bash
# Encode only the files that changed since the last call, as `find` names them.
# usage: changed_files.sh IMAGES ENCODER WORK
set -euo pipefail
images=$1 encoder=$2 work=$3

touch "$work/this-call"
newer=()
[ -e "$work/last-call" ] && newer=(-newer "$work/last-call")
cd "$images"
find . -type f -name '*.webp' "${newer[@]}" -print0 \
    | pinembed encode . --files-from - -0 --table "$work/catalog/items" --encoder "$encoder" --json
mv "$work/this-call" "$work/last-call"
