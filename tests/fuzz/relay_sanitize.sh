#!/bin/sh
# Builds the C core of the relay with the sanitizers and drives it (relay_fuzz.c): addresses and
# undefined behaviour first, then data races. Any finding ends it with an error.
# Usage: tests/fuzz/relay_sanitize.sh [SEED]
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
seed=${1:-1}

build() {
    output=$1
    shift
    "${CC:-cc}" -std=c11 -g -O1 -fno-omit-frame-pointer -Wall -Wextra -Werror "$@" \
        -I"$root/media/native" "$root/tests/fuzz/relay_fuzz.c" \
        "$root/media/native/packet.c" "$root/media/native/latch.c" "$root/media/native/loop.c" -pthread -o "$work/$output"
}

build memory -fsanitize=address,undefined -fno-sanitize-recover=all
"$work/memory" "$seed" 200000 2000
build races -fsanitize=thread
# Address randomisation of new kernels collides with the shadow memory of older run-times.
TSAN_OPTIONS=halt_on_error=1 setarch "$(uname -m)" -R "$work/races" "$seed" 20000 3000
