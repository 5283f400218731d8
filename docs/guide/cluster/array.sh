#!/bin/sh
# The same without a scheduler: array.sh 8 compare … runs eight parts of a command, as many at a time as there are cores.
# GNU parallel can start them on several machines (--sshlogin) that share the disk.
parts=$1
shift
export RANDLORA_THREADS="${RANDLORA_THREADS:-1}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
all() { seq 1 "$parts" | parallel -q --joblog "$log" randlora "$@" --job "{}/$parts"; }
all "$@" && exit 0
# The 7th column is the exit status. 2 and 3: trying again is useless; what has failed otherwise may pass, and goes on once more.
awk 'NR > 1 && ($7 == 2 || $7 == 3) { refused = 1 } END { exit !refused }' "$log" && exit 3
# parallel's own status is how many have failed.
all "$@" || exit 1
