#!/bin/sh
# Runs Octet's GPU tests and benchmarks on a Linux x86-64 host that has an NVIDIA driver and a CUDA 13 toolkit. Needs no
# JDK and no network.
#
#   run-gpu.sh FOLDER [info] [tests] [bench] [sanitizer]     results go to FOLDER; without a list all four are done
#
#   OCTET_TESTS       only the test classes whose name matches this regular expression, for example LaunchGpuTest
#   OCTET_BENCH       only the benchmarks whose name matches this regular expression
#   OCTET_JAVA_OPTS   more options for the JVM, split at spaces
#   OCTET_LIMIT       seconds that each step may take, 540 unless told
#   OCTET_CLASS_LIMIT seconds that one class of tests may take, 180 unless told
#
# Each class of tests has a JVM of its own: a kernel that never ends, or an error after which the driver refuses all
# work of the process, costs the rest of its class and nothing else.
#
# Exit code: 0 all went well; 1 a test, a benchmark or the sanitizer failed; 2 wrong usage; 3 there is no GPU that can
# be used, and info.txt says why.
#
# shellcheck disable=SC2086 # lists of options are split on purpose, so no folder on the way here may have a space
set -u

usage() {
    sed -n '2,17s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ $# -ge 1 ] || usage
case $1 in -*) usage ;; esac
out=$1
shift
[ $# -ge 1 ] || set -- info tests bench sanitizer
for step in "$@"; do
    case $step in info | tests | bench | sanitizer) ;; *) usage ;; esac
done

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
mkdir -p "$out" || exit 2
out=$(CDPATH='' cd -- "$out" && pwd -P)
limit=${OCTET_LIMIT:-540}

# ------------------------------------------------------------------------------------------------ libraries

# NVRTC and cuBLASLt lie in a toolkit, or inside a Python that has PyTorch. The loader looks where LD_LIBRARY_PATH says.
has() {
    for file in "$1"/libnvrtc.so.1[23]* "$1"/libcublasLt.so.1[23]* "$1"/libcuda.so.1; do
        [ -e "$file" ] && return 0
    done
    return 1
}

find_libraries() {
    for folder in "${CUDA_HOME:-/nonexistent}"/lib64 "${CUDA_PATH:-/nonexistent}"/lib64 /usr/local/cuda/lib64 \
        /usr/local/cuda-13*/lib64 /usr/local/nvidia/lib64 /usr/local/nvidia/lib /usr/lib/x86_64-linux-gnu /usr/lib64; do
        has "$folder" && printf '%s:' "$folder"
    done
    python=$(command -v python3 2>/dev/null) || return 0
    "$python" - 2>/dev/null <<'PYTHON'
import glob, os, site, sys, sysconfig
roots = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *sys.path}
roots.update(getattr(site, "getsitepackages", lambda: [])())
for root in sorted(r for r in roots if r):
    for folder in sorted(glob.glob(os.path.join(root, "nvidia", "*", "lib"))):
        if glob.glob(folder + "/libnvrtc.so.1*") or glob.glob(folder + "/libcublasLt.so.1*"):
            print(folder, end=":")
PYTHON
}

libraries=$(find_libraries)
LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${libraries%:}
export LD_LIBRARY_PATH

# ------------------------------------------------------------------------------------------------ java

modules="core cuda-bindings fp8 mla moe benchmarks"
tests=
for module in $modules; do
    tests=$tests:$here/tests/$module
done
tests=${tests#:}
classpath=$tests
for jar in "$here"/lib/*.jar; do
    classpath=$classpath:$jar
done

options="--add-modules jdk.incubator.vector --enable-native-access=ALL-UNNAMED -XX:MaxRAMPercentage=50"
options="$options ${OCTET_JAVA_OPTS:-}"
java=$here/runtime/bin/java
junit="-cp $classpath:$here/junit/console.jar org.junit.platform.console.ConsoleLauncher execute"
junit="$junit --disable-banner --disable-ansi-colors --exclude-engine=junit-vintage"
junit="$junit --exclude-engine=junit-platform-suite"

# Ended by force ten seconds later: a JVM that is asked to end may wait for a kernel that never does.
limited() {
    seconds=$1
    shift
    if command -v timeout >/dev/null 2>&1; then
        timeout -k 10 "$seconds" "$@"
    else
        "$@"
    fi
}

# A command with a time limit, its output on the screen and in a file. The status is the command's.
keep() {
    file=$1
    shift
    { "$@" 2>&1; echo $? >"$out/.status"; } | tee "$out/$file"
    status=$(cat "$out/.status")
    rm -f "$out/.status"
    return "$status"
}

info() {
    printf 'date      %s\n' "$(date -u '+%Y-%m-%d %H:%M:%S UTC')"
    printf 'commit    %s\n' "$(cat "$here/COMMIT" 2>/dev/null || echo unknown)"
    printf 'kernel    %s\n' "$(uname -sr)"
    printf 'libraries %s\n' "${LD_LIBRARY_PATH:-}"
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit --format=csv 2>&1 |
        sed 's/^/smi       /'
    "$java" $options -cp "$classpath" dev.octet.benchmarks.gpu.GpuBenchmarks info
}

# What has tests for a GPU has Gpu in its name. A suite stands for the classes inside it; they take long and come last.
test_classes() {
    for kind in '*Gpu*Test.class' '*GpuSuiteTest$*.class'; do
        for module in $modules; do
            (cd "$here/tests/$module" 2>/dev/null && find . -name "$kind" ! -name 'GpuSuiteTest.class') |
                sed 's|^\./||; s|\.class$||; s|/|.|g' | sort
        done
    done | grep -E "${OCTET_TESTS:-.}"
}

tests() {
    begun=$(date +%s)
    reports=$(mktemp -d)
    : >"$reports/summary"
    result=0
    for class in $(test_classes); do
        left=$((limit - $(date +%s) + begun))
        if [ "$left" -lt 15 ]; then
            echo "NOT RUN  $class: no time is left" >>"$reports/summary"
            result=1
            continue
        fi
        most=${OCTET_CLASS_LIMIT:-180}
        echo "== $class"
        limited "$((left < most ? left : most))" "$java" $options -Doctet.cuda.traceResources=true $junit \
            --select-class="$class" --include-tag=gpu --details=tree --reports-dir="$reports/$class" \
            >"$reports/out" 2>&1
        code=$?
        cat "$reports/out"
        passed=$(sed -n 's/^\[ *\([0-9]*\) tests successful.*/\1/p' "$reports/out")
        case $code in
            0) word=ok ;;
            124 | 137) word=TIMEOUT ;;
            *) word=FAILED ;;
        esac
        [ "$code" -eq 0 ] || result=1
        printf '%-8s %s: %s passed, %s s\n' "$word" "$class" "${passed:-0}" "$(($(date +%s) - begun - limit + left))" \
            >>"$reports/summary"
    done
    grep -q '[1-9][0-9]* passed' "$reports/summary" || { echo "no test has passed" >>"$reports/summary"; result=1; }
    rm -f "$reports/out"
    tar -C "$reports" -czf "$out/reports.tgz" .
    cat "$reports/summary"
    rm -rf "$reports"
    return "$result"
}

bench() {
    limited "$limit" "$java" $options -cp "$classpath" dev.octet.benchmarks.gpu.GpuBenchmarks run \
        --json "$out/bench.json" "${OCTET_BENCH:-.*}"
}

# The tests that are made for it, which are few and small: the tool slows kernels a hundredfold.
sanitizer() {
    tool=$(command -v compute-sanitizer 2>/dev/null) || tool=/usr/local/cuda/bin/compute-sanitizer
    if [ ! -x "$tool" ]; then
        echo "SKIPPED: no compute-sanitizer here"
        return 0
    fi
    result=0
    for check in memcheck racecheck synccheck initcheck; do
        echo "== $check"
        limited "$((limit / 4))" "$tool" --tool "$check" --error-exitcode 9 --target-processes all "$java" $options \
            -Doctet.cuda.lineinfo=true $junit --scan-class-path="$tests" --include-tag='gpu & sanitizer' \
            --details=summary || result=1
    done
    return "$result"
}

# ------------------------------------------------------------------------------------------------ steps

keep info.txt info
case $? in
    0) ;;
    3)
        echo "no GPU can be used here: see $out/info.txt" >&2
        exit 3
        ;;
    *)
        echo "the description of this machine failed: see $out/info.txt" >&2
        exit 1
        ;;
esac

failed=
for step in "$@"; do
    case $step in
        info) ;;
        *)
            keep "$step.txt" "$step" || failed="$failed $step"
            ;;
    esac
done
if [ -n "$failed" ]; then
    echo "FAILED:$failed" | tee "$out/summary.txt"
    exit 1
fi
echo "ok: $*" | tee "$out/summary.txt"
