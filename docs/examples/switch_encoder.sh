#!/usr/bin/env bash
# Take a new encoder into use only where it is better for certain.
# usage: switch_encoder.sh DATA NEW CURRENT, where CURRENT is a link to the encoder in use
set -uo pipefail
data=$1 new=$(realpath "$2") current=$3

pinembed evaluate "$data" --encoder "$new" --against "$current" --group product --quiet
case $? in
    0) ln -sfn "$new" "$current"; echo "switched to $new" ;; # the next encode needs a table of its own
    4) echo "kept $(realpath "$current")" ;;
    *) exit 1 ;;
esac
