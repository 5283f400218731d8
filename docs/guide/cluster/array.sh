#!/bin/sh
# The same without a scheduler: array.sh 8 compare … runs eight parts of a command, as many at a time as there are cores.
# GNU parallel can start them on several machines (--sshloginfile) that share the disk.
parts=$1
shift
part=--job
[ "$1" = merge ] && part=--part
export RANDLORA_THREADS="${RANDLORA_THREADS:-1}"
# Status 2 and 3 say that trying again is useless; what has failed otherwise is started once more when the others have ended.
once() { seq 1 "$parts" | parallel --halt never randlora "$@" "$part" "{}/$parts"; }
once "$@" || once "$@"
