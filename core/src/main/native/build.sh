#!/bin/sh
# Builds a module's native library, liboctet_MODULE.so, from its C files and the common ones beside this script.
#
#   build.sh MODULE SOURCES TARGET     Maven runs it in every module that has a folder src/main/c
#
# The library goes to TARGET/native/META-INF/octet/PLATFORM, ready to be packed into a jar. A file's name says what it is
# compiled for: NAME_avx2.c, _avx512.c, _avx512bf16.c, _amx.c on x86-64, _neon.c, _neonbf16.c on 64-bit Arm, anything
# else for the architecture's baseline; files of the other architecture are left out. Nothing is tuned to the machine
# that builds, and the same sources and compiler give the same bytes.
#
#   CC              the compiler; else cc, gcc or clang
#   OCTET_CFLAGS    more flags, for example -fsanitize=address,undefined
set -eu

module=${1#octet-}
sources=$2
target=$3
common=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
sources=$(CDPATH='' cd -- "$sources" && pwd -P)

compiler=
for candidate in ${CC:-cc gcc clang}; do
    if command -v "$candidate" >/dev/null 2>&1; then
        compiler=$candidate
        break
    fi
done
if [ -z "$compiler" ]; then
    printf '[INFO] no C compiler found, native kernels of %s left out\n' "$module"
    exit 0
fi

machine=$($compiler -dumpmachine)
case $machine in
    x86_64*linux*) platform=linux-x86_64 ;;
    aarch64*linux*) platform=linux-aarch64 ;;
    *)
        printf '[INFO] no native kernels for %s, those of %s left out\n' "$machine" "$module"
        exit 0
        ;;
esac

flags="-std=c11 -O3 -ffp-contract=off -fno-math-errno -fPIC -fvisibility=hidden -Wall -Wextra -Werror ${OCTET_CFLAGS:-}"
avx512='-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mbmi2 -mprefer-vector-width=512'

# The flags of one file, or "skip".
flags_of() {
    case $platform:$1 in
        linux-x86_64:*_avx2.c) printf '%s' '-mavx2 -mfma -mf16c -mbmi2' ;;
        linux-x86_64:*_avx512.c) printf '%s' "$avx512" ;;
        linux-x86_64:*_avx512bf16.c) printf '%s' "$avx512 -mavx512vbmi -mavx512bf16" ;;
        linux-x86_64:*_amx.c) printf '%s' "$avx512 -mavx512vbmi -mavx512bf16 -mamx-tile -mamx-bf16" ;;
        linux-aarch64:*_neonbf16.c) printf '%s' '-march=armv8.2-a+bf16' ;;
        linux-aarch64:*_neon.c) ;;
        *:*_avx2.c | *:*_avx512.c | *:*_avx512bf16.c | *:*_amx.c | *:*_neon.c | *:*_neonbf16.c) printf skip ;;
        *) ;;
    esac
}

folder=$target/native/META-INF/octet/$platform
library=$folder/liboctet_$module.so
work=$target/native-build
mkdir -p "$folder" "$work"

# Built again only when a source, this script, the compiler or the flags have changed.
stamp=$({
    printf '%s\n' "$compiler" "$flags"
    $compiler --version | head -n 1
    cat "$0" "$common"/*.c "$common"/*.h "$sources"/*.c "$sources"/*.h 2>/dev/null
} | cksum)
if [ -f "$library" ] && [ -f "$work/stamp" ] && [ "$stamp" = "$(cat "$work/stamp")" ]; then
    exit 0
fi
rm -f "$library" "$work/stamp" "$work"/*.o

set -- # the object files, whose path may have spaces
for source in "$common"/*.c "$sources"/*.c; do
    extra=$(flags_of "$(basename "$source")")
    [ "$extra" != skip ] || continue
    object=$work/$(basename "$source" .c).o
    # shellcheck disable=SC2086 # flags are split on purpose
    $compiler $flags -ffile-prefix-map="$common=." -ffile-prefix-map="$sources=." -I"$common" -I"$sources" $extra \
        -c "$source" -o "$object"
    set -- "$@" "$object"
done
# shellcheck disable=SC2086
$compiler -shared ${OCTET_CFLAGS:-} -Wl,-soname,"liboctet_$module.so" -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack \
    "$@" -lm -o "$library"
printf '%s' "$stamp" >"$work/stamp"
printf '[INFO] built liboctet_%s.so for %s with %s\n' "$module" "$platform" "$($compiler --version | head -n 1)"
