#!/usr/bin/env bash
# Bring a table up to date, export it and check the export; for cron.
# usage: nightly.sh IMAGES ENCODER WORK
set -uo pipefail
images=$1 encoder=$2 work=$3

pinembed encode "$images" --table "$work/catalog/items" --encoder "$encoder" --json >> "$work/runs.jsonl"
case $? in
    0) ;;
    3) echo "too many images failed; see: pinembed inspect --table $work/catalog/items" >&2 ;; # the others are stored
    5) echo "another run is at work" >&2; exit 0 ;;
    *) exit 1 ;; # the error is the last line of runs.jsonl
esac

pinembed export --table "$work/catalog/items" --out "$work/source" --overwrite --quiet || exit 1
pinembed verify "$work/source" --quiet || exit 1
