#!/bin/bash
# All that a Hopper GPU is asked about fp8_gemm_hopper.cu, in one go: fp8_gemm_hopper_gpu.sh [folder for results] [seconds]
# Checks first; times nothing that is wrong. Needs a driver, nvcc and a C++ compiler. Leaves at most six files.
cd "$(dirname "$0")" || exit 1
out=$(realpath -m "${1:-/tmp/octet-hopper}")
seconds=${2:-400}
kernel=../../main/resources/dev/octet/fp8/cuda
work=$(mktemp -d)
mkdir -p "$out"
cuda=$(dirname "$(dirname "$(realpath "$(command -v nvcc)")")")
g++ -std=c++20 -O2 -I "$cuda/include" -I /usr/local/cuda/include fp8_gemm_hopper_bench.cpp -o "$work/bench" -pthread -ldl || exit 1
timeout 200 "$work/bench" check $kernel "$out/check.json" 2>&1 | tee "$out/log.txt"
status=${PIPESTATUS[0]}
grep -h 'spill\|Used\|serialized\|setmaxnreg' /tmp/octet_*.log | sort | uniq -c | tee -a "$out/log.txt"
if command -v cuobjdump > /dev/null; then
    for v in 128x192p 256x128l t64s 128x128o; do
        cuobjdump -sass /tmp/octet_$v.cubin > "$work/$v.sass" 2>&1
        echo "$v: $(grep -c QGMMA "$work/$v.sass") QGMMA, $(grep -c FFMA "$work/$v.sass") FFMA, $(grep -c 'STL\|LDL' "$work/$v.sass") spills" \
            | tee -a "$out/log.txt"
    done
    tar -C "$work" -czf "$out/sass.tgz" --exclude bench .
fi
if [ "$status" -ne 0 ]; then
    echo "the check failed: nothing is timed" | tee -a "$out/log.txt"
    command -v compute-sanitizer > /dev/null \
        && timeout 120 compute-sanitizer "$work/bench" check $kernel 2>&1 | tail -200 | tee -a "$out/log.txt"
    exit "$status"
fi
"$work/bench" bench $kernel "$out/bench.json" $((seconds * 7 / 10)) 2>&1 | tee -a "$out/log.txt"
"$work/bench" grouped $kernel "$out/grouped.json" $((seconds * 3 / 10)) 2>&1 | tee -a "$out/log.txt"
