#!/bin/sh
# Runs Octet's GPU tests and benchmarks on a Linux x86-64 host that has an NVIDIA driver and a CUDA 13 toolkit. Needs no
# JDK and no network. All of it takes less than ten minutes.
#
#   run-gpu.sh FOLDER [info] [tests] [bench] [sanitizer]     results go to FOLDER; without a list all four are done
#
#   OCTET_TESTS       only the test classes whose name matches this regular expression, for example LaunchGpuTest
#   OCTET_BENCH       only the benchmarks whose name matches this regular expression
#   OCTET_JAVA_OPTS   more options for the JVM, split at spaces
#   OCTET_LIMIT       seconds that all steps together may take, 570 unless told; what runs out of time has failed
#   OCTET_CLASS_LIMIT seconds that one class of tests may take, 150 unless told
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

steps=$*
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
mkdir -p "$out" || exit 2
out=$(CDPATH='' cd -- "$out" && pwd -P)
end=$(($(date +%s) + ${OCTET_LIMIT:-570}))
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# ------------------------------------------------------------------------------------------------ libraries

# NVRTC, cuBLASLt and CUDA's runtime lie in a toolkit, or inside a Python that has PyTorch. The loader looks where
# LD_LIBRARY_PATH says.
has() {
    for file in "$1"/libnvrtc.so.1[23]* "$1"/libcublasLt.so.1[23]* "$1"/libcudart.so.1[23]* "$1"/libcuda.so.1; do
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
    # nvidia/cu13/lib has all of CUDA 13; before, each library had a folder of its own.
    "$python" - 2>/dev/null <<'PYTHON'
import glob, os, site, sys, sysconfig
roots = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *sys.path}
roots.update(getattr(site, "getsitepackages", lambda: [])())
for root in sorted(r for r in roots if r):
    for folder in sorted(glob.glob(os.path.join(root, "nvidia", "*", "lib"))):
        if any(glob.glob(folder + "/lib%s.so.1*" % name) for name in ("nvrtc", "cublasLt", "cudart")):
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
for jar in "$here"/lib/*.jar "$here"/presets/*.jar; do
    classpath=$classpath:$jar
done

# A cache of its own, so that all kernels are compiled here; JavaCPP unpacks its library into the same folder.
options="--add-modules jdk.incubator.vector --enable-native-access=ALL-UNNAMED -XX:MaxRAMPercentage=50"
options="$options -Doctet.cuda.cache=$work/kernels -Dorg.bytedeco.javacpp.cachedir=$work/javacpp"
options="$options ${OCTET_JAVA_OPTS:-}"
java=$here/runtime/bin/java
junit="-cp $classpath:$here/junit/console.jar org.junit.platform.console.ConsoleLauncher execute"
junit="$junit --disable-banner --disable-ansi-colors --exclude-engine=junit-vintage"
junit="$junit --exclude-engine=junit-platform-suite"

# A command that gets so many seconds, or what is left of all time. Ended by force ten seconds later: a JVM that is asked
# to end may wait for a kernel that never does.
limited() {
    seconds=$1
    shift
    left=$((end - $(date +%s)))
    [ "$seconds" -lt "$left" ] || seconds=$left
    if [ "$seconds" -le 0 ]; then
        echo "NOT RUN: no time is left, see OCTET_LIMIT"
        return 124
    fi
    if command -v timeout >/dev/null 2>&1; then
        timeout -k 10 "$seconds" "$@"
    else
        "$@"
    fi
    result=$?
    case $result in 124 | 137) echo "STOPPED: not done after $seconds seconds" ;; esac
    return "$result"
}

# A command, its output on the screen and in a file. The status is the command's.
keep() {
    file=$1
    shift
    { "$@" 2>&1; echo $? >"$work/status"; } | tee "$out/$file"
    return "$(cat "$work/status")"
}

info() {
    printf 'date      %s\n' "$(date -u '+%Y-%m-%d %H:%M:%S UTC')"
    printf 'commit    %s\n' "$(cat "$here/COMMIT" 2>/dev/null || echo unknown)"
    printf 'kernel    %s\n' "$(uname -sr)"
    printf 'libraries %s\n' "${LD_LIBRARY_PATH:-}"
    if command -v nvidia-smi >/dev/null 2>&1; then
        nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit \
            --format=csv 2>&1 | sed 's/^/smi       /'
    else
        echo 'smi       there is no nvidia-smi'
    fi
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

# A class of tests, with more options for the JVM.
test_class() {
    class=$1
    shift
    begun=$(date +%s)
    most=$((tests_end - begun))
    [ "$most" -lt "${OCTET_CLASS_LIMIT:-150}" ] || most=${OCTET_CLASS_LIMIT:-150}
    if [ "$most" -lt 5 ]; then
        echo "NOT RUN  $class $*: no time is left" >>"$reports/summary"
        return 1
    fi
    echo "== $class $*"
    limited "$most" "$java" $options "$@" -Doctet.cuda.traceResources=true $junit --select-class="$class" \
        --include-tag=gpu --details=tree --reports-dir="$reports/$class$*" >"$work/out" 2>&1
    code=$?
    cat "$work/out"
    case $code in
        0) word=ok ;;
        124 | 137) word=TIMEOUT ;;
        *) word=FAILED ;;
    esac
    printf '%-8s %s: %s passed, %s s\n' "$word" "$class $*" \
        "$(sed -n 's/^\[ *\([0-9]*\) tests successful.*/\1/p' "$work/out" | grep . || echo 0)" \
        "$(($(date +%s) - begun))" >>"$reports/summary"
    return "$code"
}

# The bindings through java.lang.foreign; then all tests through the presets, where they load.
tests() {
    reports=$work/reports
    mkdir -p "$reports"
    : >"$reports/summary"
    tests_end=$(($(date +%s) + 330))
    if [ "$tests_end" -gt "$end" ] || [ "$steps" = tests ]; then
        tests_end=$end
    fi
    failed_tests=0
    for name in $(test_classes | grep '^dev\.octet\.cuda\.'); do
        test_class "$name" -Doctet.cuda.binding=foreign || failed_tests=1
    done
    for name in $(test_classes); do
        test_class "$name" || failed_tests=1
    done
    grep -q ' [1-9][0-9]* passed' "$reports/summary" ||
        { echo "no test has passed" >>"$reports/summary"; failed_tests=1; }
    tar -C "$reports" -czf "$out/reports.tgz" .
    cat "$reports/summary"
    return "$failed_tests"
}

bench() {
    rm -rf "$work/kernels" # the first line is a cold start
    limited "$([ "$steps" = bench ] && echo 9999 || echo 160)" "$java" $options -cp "$classpath" dev.octet.benchmarks.gpu.GpuBenchmarks run \
        --json "$out/bench.json" "${OCTET_BENCH:-.*}"
}

# The tests that are made for it, which are few and small: the tool slows kernels a hundredfold.
sanitizer() {
    tool=$(command -v compute-sanitizer 2>/dev/null) || tool=${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer
    if [ ! -x "$tool" ]; then
        echo "SKIPPED: no compute-sanitizer here"
        return 0
    fi
    failed_checks=0
    checks=4
    for check in memcheck racecheck synccheck initcheck; do
        echo "== $check"
        limited "$(((end - $(date +%s)) / checks))" "$tool" --tool "$check" --error-exitcode 9 \
            --target-processes all "$java" $options -Doctet.cuda.lineinfo=true $junit \
            --scan-class-path="$tests" --include-tag='gpu & sanitizer' --fail-if-no-tests --details=summary ||
            failed_checks=1
        checks=$((checks - 1))
    done
    return "$failed_checks"
}

# ------------------------------------------------------------------------------------------------ steps

keep info.txt info
case $? in
    0) ;;
    3)
        echo "no GPU can be used here: see $out/info.txt" | tee "$out/summary.txt" >&2
        exit 3
        ;;
    *)
        echo "FAILED: the description of this machine, see $out/info.txt" | tee "$out/summary.txt" >&2
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
