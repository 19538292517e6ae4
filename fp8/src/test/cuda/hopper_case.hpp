// A product for fp8_gemm_hopper.cu: its shape and strides, and the tensor maps, arguments and grid that a launch of one variant
// needs. The emulation and the benchmark on a GPU share it.
#pragma once

#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <string>
#include <vector>

/// How the kernel was compiled.
struct Variant {
    const char* name;
    int rows, cols, stages, swapped, cluster, shareLeft, split, overlap, leftVector, rightVector, leftE5m2, rightE5m2, outF32;

    int tokenTile() const { return swapped ? cols : rows; }
    int channelTile() const { return swapped ? rows : cols; }
    bool clusterTokens() const { return cluster == 2 && (shareLeft != 0) == (swapped != 0); }
    int line() const { return cols % 64 == 0 ? 64 : cols % 32 == 0 ? 32 : 16; }
    std::string defines() const {
        std::string s;
        auto add = [&s](const char* macro, int v) { s += std::string(" -DOCTET_") + macro + "=" + std::to_string(v); };
        add("ROWS", rows);
        add("COLS", cols);
        add("STAGES", stages);
        add("SWAPPED", swapped);
        add("CLUSTER", cluster);
        add("SHARE_LEFT", shareLeft);
        add("SPLIT", split);
        add("OVERLAP", overlap);
        add("LEFT_VECTOR", leftVector);
        add("RIGHT_VECTOR", rightVector);
        add("LEFT_E5M2", leftE5m2);
        add("RIGHT_E5M2", rightE5m2);
        add("OUT_F32", outF32);
        add("OUT_FP8", 0);
        add("EPILOGUE", 0);
        return s;
    }
    /// As the kernel lays out shared memory.
    int sharedBytes() const {
        int out = swapped ? cols * (rows + 4) * 4 : outF32 ? 0 : rows * cols * 2;
        int leftScales = leftVector ? rows * 4 : 0, rightSlot = rightVector ? (cols * 4 + 127) / 128 * 128 : 0;
        return stages * (rows * 128 + cols * 128 + leftScales + rightSlot + 16) + (out + 127) / 128 * 128;
    }
};

/// As in fp8_gemm_hopper.cu.
struct HopperArguments {
    const int *begins = nullptr, *ends = nullptr;
    const void *blockScales = nullptr, *otherBlockScales = nullptr;
    void *d = nullptr, *dScales = nullptr;
    const void *addend = nullptr, *bias = nullptr;
    long long dRow = 0, dColumn = 1, dScaleRow = 0, dScaleColumn = 0, addendRow = 0, addendColumn = 1, biasStep = 1;
    long long scaleRow = 0, scaleGroup = 0, otherScaleRow = 0;
    int scaleStep = 1, otherScaleStep = 1, vectorStep = 1, scaleE8m0 = 0, otherScaleE8m0 = 0;
    int tokens = 0, channels = 0, depth = 0, groups = 1, band = 8;
    int addendBf16 = 0, biasBf16 = 0, silu = 0, dE5m2 = 0, dScaleFormat = 0, tmaStore = 0, alignedOutput = 0;
    int keepLeft = 1, keepRight = 1, tabled = 0;
    int table[512] = {};
};

/// Operands in memory. Scales of rows: [K / 128][rows], the columns scaleStride floats apart. Scales of blocks:
/// [groups][rows / 128][K / 128].
struct Operand {
    void* codes = nullptr;
    float* scales = nullptr;
    long rows = 0;             // of one group
    long stride = 0;           // bytes from a row to the next
    long groupStride = 0;      // bytes
    long scaleStride = 0;      // floats: to the next column of K (rows) or the next 128 rows (blocks)
    long scaleGroup = 0;
};

struct HopperProduct {
    int tokens = 0, channels = 0, depth = 0, groups = 1;
    Operand a, b;
    void* d = nullptr;
    long ldd = 0;
    HopperArguments arguments;    // groups, epilogue
};

struct alignas(64) HopperMaps {
    char left[128], right[128], leftScales[128], rightScales[128], d[128];
};

/// Fills in maps and arguments. Encode is (to, bytes of an element, rank, base, dims, strides, box, swizzle), and returns
/// what is wrong or null. Returns that.
template <class Encode>
inline const char* prepare(const Variant& v, const HopperProduct& p, HopperMaps& maps, HopperArguments& arguments, Encode encode) {
    memset(&maps, 0, sizeof maps);
    arguments = p.arguments;
    arguments.tokens = p.tokens;
    arguments.channels = p.channels;
    arguments.depth = p.depth;
    arguments.groups = p.groups;
    arguments.d = p.d;
    arguments.dRow = p.ldd;
    int aVector = v.swapped ? v.rightVector : v.leftVector, bVector = v.swapped ? v.leftVector : v.rightVector;
    auto codes = [&](char* map, const Operand& o, int groups, int rows, bool shared) {
        uint64_t dims[] = {uint64_t(p.depth), uint64_t(o.rows), uint64_t(groups)};
        uint64_t strides[] = {uint64_t(o.stride), uint64_t(groups > 1 ? o.groupStride : o.stride * o.rows)};
        uint32_t box[] = {128, uint32_t(shared ? rows / 2 : rows), 1};
        return encode(map, 1, 3, o.codes, dims, strides, box, 128);
    };
    auto scales = [&](char* map, const Operand& o, int rows) -> const char* {
        uint64_t dims[] = {uint64_t(o.rows), uint64_t(arguments.vectorStep ? (p.depth + 127) / 128 : 1)};
        uint64_t strides[] = {uint64_t(o.scaleStride) * 4};
        uint32_t box[] = {uint32_t(rows), 1};
        return encode(map, 4, 2, o.scales, dims, strides, box, 0);
    };
    const Operand &left = v.swapped ? p.b : p.a, &right = v.swapped ? p.a : p.b;
    const char* wrong = codes(maps.left, left, v.swapped ? p.groups : 1, v.rows, v.cluster == 2 && v.shareLeft);
    wrong = wrong ? wrong : codes(maps.right, right, v.swapped ? 1 : p.groups, v.cols, v.cluster == 2 && !v.shareLeft);
    if (!wrong && v.leftVector) {
        wrong = scales(maps.leftScales, left, v.rows);
    }
    if (!wrong && v.rightVector) {
        wrong = scales(maps.rightScales, right, v.cols);
    }
    if (!aVector && !bVector) {
        arguments.blockScales = left.scales;
        arguments.scaleRow = left.scaleStride;
        arguments.otherBlockScales = right.scales;
        arguments.otherScaleRow = right.scaleStride;
    } else if (!bVector) {
        arguments.blockScales = p.b.scales;
        arguments.scaleRow = p.b.scaleStride;
        arguments.scaleGroup = p.b.scaleGroup;
    }
    long element = v.outF32 ? 4 : 2;
    arguments.alignedOutput = reinterpret_cast<uintptr_t>(p.d) % (4 * element) == 0 && p.ldd % 4 == 0;
    arguments.tmaStore = !v.outF32 && !v.swapped && reinterpret_cast<uintptr_t>(p.d) % 16 == 0 && p.ldd * element % 16 == 0;
    if (!wrong && arguments.tmaStore) {
        uint64_t dims[] = {uint64_t(p.channels), uint64_t(p.tokens)};
        uint64_t strides[] = {uint64_t(p.ldd * element)};
        uint32_t box[] = {uint32_t(v.line()), 64};
        wrong = encode(maps.d, 2, 2, p.d, dims, strides, box, uint32_t(v.line() * 2));
    }
    return wrong;
}
