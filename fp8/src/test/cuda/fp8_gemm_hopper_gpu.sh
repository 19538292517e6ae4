#!/bin/bash
# All that a Hopper GPU is asked about fp8_gemm_hopper.cu, in one go: fp8_gemm_hopper_gpu.sh [folder for results] [seconds]
# Needs a driver, nvcc and a C++ compiler. Each variant is checked in a process of its own, so that one that hangs or goes
# astray costs nothing but itself; what is wrong is not timed. Leaves at most five files, and ends within the seconds, 540
# unless told.
cd "$(dirname "$0")" || exit 1
out=$(realpath -m "${1:-/tmp/octet-hopper}")
seconds=${2:-540}
kernel=../../main/resources/dev/octet/fp8/cuda
work=$(mktemp -d)
mkdir -p "$out" "$work/cubins"
export OCTET_CUBINS=$work/cubins
say() { tee -a "$out/log.txt"; }
left() { echo $((seconds - SECONDS)); }

# cuBLASLt, the comparator, may lie in a toolkit or in Python's packages alone, the driver beside the system's libraries.
libraries=$(python3 - 2> /dev/null << 'PYTHON'
import glob, os, site, sys, sysconfig
roots = {sysconfig.get_path("purelib"), *site.getsitepackages(), *sys.path}
print(":".join(sorted({os.path.dirname(f) for r in roots if r for f in glob.glob(r + "/nvidia/*/lib/libcublasLt.so.1*")})))
PYTHON
)
export LD_LIBRARY_PATH=$LD_LIBRARY_PATH:/usr/local/cuda/lib64:/usr/local/nvidia/lib64:$libraries
cuda=$(dirname "$(dirname "$(realpath "$(command -v nvcc)")")")
g++ -std=c++20 -O2 -I "$cuda/include" -I /usr/local/cuda/include fp8_gemm_hopper_bench.cpp -o "$work/bench" -pthread -ldl || exit 1

timeout -k 5 150 "$work/bench" compile $kernel 2>&1 | say
grep -h 'spill\|Used\|serialized\|setmaxnreg\|error' "$work"/cubins/*.log | sort | uniq -c | say
right=() wrong=()
for v in $("$work/bench" list $kernel); do
    [ "$(left)" -gt 60 ] || { echo "NOT CHECKED $v: no time is left" | say; continue; }
    timeout -k 5 20 "$work/bench" check $kernel "" 15 "$v" > "$work/check" 2>&1
    status=$?
    say < "$work/check"
    if [ $status -eq 0 ]; then
        right+=("$v")
    else
        wrong+=("$v")
        echo "WRONG $v: status $status" | say
    fi
done
echo "right: ${right[*]}; wrong: ${wrong[*]}" | say
if command -v cuobjdump > /dev/null; then
    for v in 128x192p 256x128l t64s 128x128o; do
        cuobjdump -sass "$work/cubins/$v.cubin" > "$work/$v.sass" 2>&1
        echo "$v: $(grep -c QGMMA "$work/$v.sass") QGMMA, $(grep -c FFMA "$work/$v.sass") FFMA, $(grep -c 'STL\|LDL' "$work/$v.sass") spills" | say
    done
    (cd "$work" && tar -czf "$out/sass.tgz" ./*.sass)
fi
if [ ${#wrong[@]} -gt 0 ] && command -v compute-sanitizer > /dev/null; then
    timeout -k 5 $(($(left) < 90 ? $(left) : 90)) compute-sanitizer "$work/bench" check $kernel '' 60 "${wrong[0]}" 2>&1 | tail -100 | say
fi
if [ ${#right[@]} -gt 0 ]; then
    share=$((($(left) - 30) * 7 / 10))
    timeout -k 5 $((share + 20)) "$work/bench" bench $kernel "$out/bench.json" $share "${right[@]}" 2>&1 | say
    share=$(($(left) - 20))
    timeout -k 5 $((share + 10)) "$work/bench" grouped $kernel "$out/grouped.json" $share "${right[@]}" 2>&1 | say
fi
rm -rf "$work"
[ ${#wrong[@]} -eq 0 ]
