#!/bin/sh
# Runs a module's C kernels under AddressSanitizer and UndefinedBehaviorSanitizer, and for AVX2, which is what valgrind
# knows, under valgrind where it is there. What is run is the module's src/test/c/sanitize.c, a program with two arguments,
# how many rounds and which instruction sets, as bits of octet_cpu_sets().
#
#   sanitize.sh MODULE TARGET     Maven's profile "sanitize" runs it
set -eu
common=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
main=$1/src/main/c
work=$2/sanitize
mkdir -p "$work"
compiler=${CC:-cc}
avx512='-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mbmi2'

# build NAME FLAGS: the program with some flags
build() {
    name=$1
    shift
    objects=
    for source in "$common"/cpu.c "$main"/*.c "$main"/../../test/c/sanitize.c; do
        case $source in
            *_amx.c | *_neon.c | *_neonbf16.c) continue ;;
            *_avx2.c) set_flags='-mavx2 -mfma -mf16c -mbmi2' ;;
            *_avx512.c) set_flags=$avx512 ;;
            *_avx512bf16.c) set_flags="$avx512 -mavx512vbmi -mavx512bf16" ;;
            *) set_flags= ;;
        esac
        object=$work/$name-$(basename "$source" .c).o
        # shellcheck disable=SC2086
        $compiler -std=c11 -g -ffp-contract=off -Wall -Wextra -Werror -I"$common" -I"$common/../../test/c" -I"$main" "$@" $set_flags \
            -c "$source" -o "$object"
        objects="$objects $object"
    done
    # shellcheck disable=SC2086
    $compiler "$@" $objects -lm -o "$work/$name"
}

build asan -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
"$work/asan" 300
if command -v valgrind >/dev/null 2>&1; then
    build plain -O2
    valgrind -q --error-exitcode=1 "$work/plain" 25 1
else
    printf 'no valgrind found\n'
fi
