// Runs fp8_gemm_hopper.cu on the emulated instructions of hopper_machine.hpp and compares with sums in double.
//
// With "exact" data (small integers, scales that are powers of two) every sum is exact in FP32, so results must match to
// the bit; otherwise they must be within the bound of fp8's README. Around D nothing may be written. Prints a line for
// each product, and "N passed, N failed" at the end; exits with 1 if any failed.
//
// Usage: fp8_gemm_hopper_test [part] [of parts]     takes every part-th product
#include "hopper_machine.hpp"

#include "hopper_case.hpp"

#include <functional>

struct Registered {
    using Kernel = void (*)(const HopperMaps&, const HopperArguments&);
    struct Entry {
        Variant variant;
        int sharedBytes;
        Kernel kernel;
    };
    static std::vector<Entry>& all() {
        static std::vector<Entry> entries;
        return entries;
    }
    Registered(const Variant& v, int sharedBytes, Kernel kernel) { all().push_back({v, sharedBytes, kernel}); }
};

#define OCTET_NAME_TEXT(x) #x
#define OCTET_NAME(x) OCTET_NAME_TEXT(x)

#ifndef OCTET_VARIANTS
#define OCTET_VARIANTS "fp8_gemm_hopper_variants.inc"
#endif
#include OCTET_VARIANTS

using octet_hopper::format;

namespace {

struct Case {
    const char* variant;
    int tokens, channels, depth;
    std::vector<int> begins, ends;      // groups of tokens, or none: one, all
    int split = 1;                      // blocks that share K
    int grid = 4;
    bool exact = true;
    int epilogue = 0;                   // 1 addend, 2 bias, 4 SiLU, 8 the addend is D, 16 addend and bias are BF16
    int vectorStep = 1, scaleStep = 1;
    int extraD = 0;                     // what ldd is more than channels
    octet_hopper::Timing timing = octet_hopper::LAZY;
    unsigned seed = 1;
};

float from_bf16(unsigned v) { return bits_to_float(v << 16); }

/// Rounds a double to BF16, ties to even: through FP32 only where that is exact.
unsigned bf16_of(double v) { return round_bf16(float(v)); }

std::string check(const Registered::Entry& entry, const Case& c) {
    const Variant& v = entry.variant;
    if (v.sharedBytes() != entry.sharedBytes) {
        return format("shared memory: %d bytes, the kernel has %d", v.sharedBytes(), entry.sharedBytes);
    }
    std::mt19937 random(c.seed * 7919 + 17);
    int groups = c.begins.empty() ? 1 : int(c.begins.size());
    int blocks = (c.depth + 127) / 128, m = c.tokens, n = c.channels, k = c.depth;
    bool aE5m2 = v.swapped ? v.rightE5m2 : v.leftE5m2, bE5m2 = v.swapped ? v.leftE5m2 : v.rightE5m2;
    bool aVector = v.swapped ? v.rightVector : v.leftVector, bVector = v.swapped ? v.leftVector : v.rightVector;
    // Lines of memory longer than K, as those of a view are; what lies between is NaN.
    int stride = (k + 15) / 16 * 16 + 16;
    struct Aligned {
        std::vector<unsigned char> all;
        unsigned char* at;
        explicit Aligned(size_t bytes, unsigned char fill = 0xFF) : all(bytes + 64, fill) {
            at = all.data() + (64 - reinterpret_cast<uintptr_t>(all.data()) % 64);
        }
    };
    Aligned a(size_t(m) * stride), b(size_t(groups) * n * stride);
    auto fill = [&](Aligned& to, size_t rows, bool e5m2) {
        const float* table = octet_hopper::codes(e5m2);
        for (size_t r = 0; r < rows; r++) {
            for (int i = 0; i < k; i++) {
                unsigned char code;
                do {
                    code = (unsigned char) random();
                } while (!(fabsf(table[code]) <= (c.exact ? 4 : 448)) || (c.exact && table[code] != floorf(table[code])));
                to.at[r * stride + i] = code;
            }
        }
    };
    fill(a, m, aE5m2);
    fill(b, size_t(groups) * n, bE5m2);
    auto scale = [&] { return c.exact ? ldexpf(1.0f, int(random() % 3) - 1) : 0.25f + float(random() % 1000) / 1000.0f; };
    auto vector = [&](Aligned& to, long rows, int columns, long pitch) {
        for (int i = 0; i < columns; i++) {
            for (long r = 0; r < rows; r++) {
                reinterpret_cast<float*>(to.at)[i * pitch + r] = scale();
            }
        }
    };
    int columnsA = aVector && !c.vectorStep ? 1 : !aVector && !c.scaleStep ? 1 : blocks;
    int columnsB = bVector && !c.vectorStep ? 1 : !bVector && !c.scaleStep ? 1 : blocks;
    long pitchA = (m + 3) / 4 * 4, pitchB = (n + 3) / 4 * 4;
    long rowsA = aVector ? pitchA : c.scaleStep ? (m + 127) / 128 : 1, rowsB = bVector ? pitchB : c.scaleStep ? (n + 127) / 128 : 1;
    Aligned aScales(size_t(rowsA) * columnsA * 4), bScales(size_t(groups) * rowsB * columnsB * 4);
    if (aVector) {
        vector(aScales, m, columnsA, pitchA);
    } else {
        vector(aScales, rowsA * columnsA, 1, 0);
    }
    if (bVector) {
        vector(bScales, n, columnsB, pitchB);
    } else {
        vector(bScales, rowsB * columnsB * groups, 1, 0);
    }
    auto scaleA = [&](int row, int block) {
        int column = columnsA == 1 ? 0 : block;
        return reinterpret_cast<float*>(aScales.at)[aVector ? column * pitchA + row : (rowsA == 1 ? 0 : row / 128) * columnsA + column];
    };
    auto scaleB = [&](int group, int row, int block) {
        int column = columnsB == 1 ? 0 : block;
        return reinterpret_cast<float*>(bScales.at)[bVector ? column * pitchB + row
                : (group * rowsB + (rowsB == 1 ? 0 : row / 128)) * columnsB + column];
    };
    long ldd = n + c.extraD;
    int element = v.outF32 ? 4 : 2;
    size_t margin = 64;
    Aligned d(2 * margin + size_t(m) * ldd * element, 0xA5), before(0), addend(size_t(m) * (n + 3) * 4), bias(size_t(n) * 4);
    auto floats = [&](Aligned& to, size_t count) {
        for (size_t i = 0; i < count; i++) {
            float x = c.exact ? float(int(random() % 65) - 32) : float(int(random() % 2001) - 1000) / 7.0f;
            if (c.epilogue & 16) {
                reinterpret_cast<unsigned short*>(to.at)[i] = (unsigned short) round_bf16(x);
            } else {
                reinterpret_cast<float*>(to.at)[i] = x;
            }
        }
    };
    floats(addend, size_t(m) * (n + 3));
    floats(bias, n);
    if (c.epilogue & 8) {
        for (int t = 0; t < m; t++) {
            for (int i = 0; i < n; i++) {
                float x = float(int(random() % 65) - 32);
                unsigned char* at = d.at + margin + (t * ldd + i) * element;
                if (v.outF32) {
                    memcpy(at, &x, 4);
                } else {
                    unsigned short u = (unsigned short) round_bf16(x);
                    memcpy(at, &u, 2);
                }
            }
        }
    }
    before.all = d.all;
    size_t shift = d.at - d.all.data();
    auto element_of = [&](const unsigned char* base, size_t index) {
        if (v.outF32) {
            float x;
            memcpy(&x, base + index * 4, 4);
            return x;
        }
        unsigned short u;
        memcpy(&u, base + index * 2, 2);
        return from_bf16(u);
    };

    HopperProduct p;
    p.tokens = m;
    p.channels = n;
    p.depth = k;
    p.groups = groups;
    p.a = {a.at, reinterpret_cast<float*>(aScales.at), m, stride, 0, aVector ? pitchA : columnsA, 0};
    p.b = {b.at, reinterpret_cast<float*>(bScales.at), n, stride, long(n) * stride, bVector ? pitchB : columnsB,
            rowsB * columnsB};
    if (rowsA == 1 && !aVector) {
        p.a.scaleStride = 0;
    }
    if (rowsB == 1 && !bVector) {
        p.b.scaleStride = 0;
    }
    p.d = d.at + margin;
    p.ldd = ldd;
    if (!c.begins.empty()) {
        p.arguments.begins = c.begins.data();
        p.arguments.ends = c.ends.data();
    }
    p.arguments.band = 2;
    p.arguments.vectorStep = c.vectorStep;
    p.arguments.scaleStep = p.arguments.otherScaleStep = c.scaleStep;
    if (c.epilogue & 1) {
        p.arguments.addend = c.epilogue & 8 ? p.d : addend.at;
        p.arguments.addendRow = c.epilogue & 8 ? ldd : n + 3;
        p.arguments.addendBf16 = c.epilogue & 8 ? !v.outF32 : (c.epilogue & 16) != 0;
    }
    if (c.epilogue & 2) {
        p.arguments.bias = bias.at;
        p.arguments.biasBf16 = (c.epilogue & 16) != 0;
    }
    p.arguments.silu = (c.epilogue & 4) != 0;
    HopperMaps maps;
    HopperArguments arguments;
    if (const char* wrong = prepare(v, p, maps, arguments, octet_hopper::encode)) {
        return std::string("tensor map: ") + wrong;
    }
    unsigned cluster = v.split ? c.split : v.cluster;
    unsigned grid = c.grid;
    if (v.split) {
        grid = cluster * ((m + v.tokenTile() - 1) / v.tokenTile()) * ((n + v.channelTile() - 1) / v.channelTile());
    }
    std::string error = octet_hopper::run(grid, cluster, entry.sharedBytes, c.timing, c.seed,
            [&] { entry.kernel(maps, arguments); });
    if (!error.empty()) {
        return error;
    }

    const float *tableA = octet_hopper::codes(aE5m2), *tableB = octet_hopper::codes(bE5m2);
    std::vector<char> written(size_t(m) * ldd, 0);
    std::vector<float> decodedA(k), decodedB(size_t(n) * k);
    for (int g = 0; g < groups; g++) {
        for (int i = 0; i < n; i++) {
            for (int x = 0; x < k; x++) {
                decodedB[size_t(i) * k + x] = tableB[b.at[(size_t(g) * n + i) * stride + x]];
            }
        }
        for (int t = c.begins.empty() ? 0 : c.begins[g]; t < (c.begins.empty() ? m : c.ends[g]); t++) {
            for (int x = 0; x < k; x++) {
                decodedA[x] = tableA[a.at[size_t(t) * stride + x]];
            }
            for (int i = 0; i < n; i++) {
                double sum = 0, magnitude = 0;
                for (int block = 0; block < blocks; block++) {
                    double part = 0, size = 0;
                    for (int x = block * 128; x < std::min(k, block * 128 + 128); x++) {
                        double product = double(decodedA[x]) * decodedB[size_t(i) * k + x];
                        part += product;
                        size += fabs(product);
                    }
                    double s = double(scaleA(t, block)) * scaleB(g, i, block);
                    sum += s * part;
                    magnitude += s * size;
                }
                size_t at = size_t(t) * ldd + i;
                double expected = sum;
                if (c.epilogue & 1) {
                    size_t from = size_t(t) * (n + 3) + i;
                    expected += c.epilogue & 8 ? element_of(before.all.data() + shift + margin, at)
                            : c.epilogue & 16 ? from_bf16(reinterpret_cast<unsigned short*>(addend.at)[from])
                                              : reinterpret_cast<float*>(addend.at)[from];
                }
                if (c.epilogue & 2) {
                    expected += c.epilogue & 16 ? from_bf16(reinterpret_cast<unsigned short*>(bias.at)[i])
                                                : reinterpret_cast<float*>(bias.at)[i];
                }
                if (c.epilogue & 4) {
                    expected = expected / (1 + exp(-expected));
                }
                float got = element_of(d.at + margin, at);
                written[at] = 1;
                bool right;
                if (c.exact && !(c.epilogue & 4)) {
                    right = got == (v.outF32 ? float(expected) : from_bf16(bf16_of(expected)));
                } else {
                    double bound = 0x1p-24 * (127 + blocks + 4) * magnitude + fabs(expected) * 0x1p-20 + 1e-30;
                    right = fabs(got - expected) <= bound + (v.outF32 ? 0 : fabs(expected) * 0x1p-8);
                }
                if (!right) {
                    return format("D[%d, %d] of group %d is %.9g, expected %.9g", t, i, g, got, expected);
                }
            }
        }
    }
    for (size_t i = 0; i < d.all.size(); i++) {
        long byte = long(i) - long(shift + margin);
        bool inside = byte >= 0 && byte < long(m * ldd * element) && written[byte / element];
        if (!inside && d.all[i] != before.all[i]) {
            return format("byte %ld of D was written", byte);
        }
    }
    return "";
}

std::vector<Case> cases() {
    using octet_hopper::EAGER;
    using octet_hopper::LAZY;
    using octet_hopper::RANDOM;
    std::vector<Case> all;
    unsigned seed = 1;
    auto add = [&](Case c) {
        octet_hopper::Timing timings[] = {LAZY, EAGER, RANDOM};
        c.seed = seed;
        c.timing = timings[seed++ % 3];
        all.push_back(c);
    };
    for (const char* v : {"wide128", "wide128f", "wide128o", "wide160", "wide192", "wide112", "tall256"}) {
        for (int timing = 0; timing < 3; timing++) { // the same under each timing
            add({v, 300, 328, 1040});
        }
        add({v, 1, 8, 16});
        add({v, 130, 500, 128, {}, {}, 1, 1});
        add({v, 20, 40, 4240, {}, {}, 1, 2});    // more blocks of K than lanes
        add({.variant = v, .tokens = 257, .channels = 321, .depth = 912, .grid = 3, .exact = false, .extraD = 7});
        add({.variant = v, .tokens = 140, .channels = 136, .depth = 272, .grid = 2, .epilogue = 1 | 2 | 16});
        add({.variant = v, .tokens = 140, .channels = 136, .depth = 272, .grid = 2, .exact = false, .epilogue = 2 | 4});
        add({.variant = v, .tokens = 150, .channels = 72, .depth = 272, .grid = 2, .epilogue = 1 | 8});
        // Groups that begin anywhere: empty ones, one that ends at the last token, a hole between two.
        add({v, 400, 200, 384, {0, 0, 5, 190, 190, 300}, {0, 5, 170, 190, 300, 400}});
        // Masked: places of 140 tokens.
        add({v, 420, 136, 256, {0, 140, 280}, {131, 140, 281}});
    }
    for (const char* v : {"pair192", "pairleft"}) {
        for (int timing = 0; timing < 3; timing++) {
            add({v, 520, 700, 656});
        }
        add({v, 100, 100, 128, {}, {}, 1, 2});
        add({v, 500, 136, 256, {0, 140, 280}, {131, 140, 500}, 1, 6});
    }
    for (int timing = 0; timing < 3; timing++) {
        add({"vectors", 200, 300, 656});
        add({"blocks", 200, 300, 656});
    }
    add({.variant = "vectors", .tokens = 200, .channels = 300, .depth = 656, .exact = false, .vectorStep = 0});
    add({.variant = "blocks", .tokens = 300, .channels = 200, .depth = 656, .exact = false, .scaleStep = 0});
    for (const char* v : {"turned16", "turned64", "turned64p"}) {
        for (int timing = 0; timing < 3; timing++) {
            add({v, 70, 650, 1040});
        }
        for (int order = 0; order < 6; order++) { // tiles that one warpgroup may be ahead with
            add({v, 70, 400, 272, {}, {}, 1, 2});
        }
        add({v, 1, 130, 4240, {}, {}, 1, 2});
        add({.variant = v, .tokens = 7, .channels = 257, .depth = 272, .exact = false, .epilogue = 1 | 2 | 4, .extraD = 1});
        add({.variant = v, .tokens = 33, .channels = 260, .depth = 272, .epilogue = 1 | 8});
        add({v, 210, 200, 384, {0, 0, 5, 90, 90, 130}, {0, 5, 70, 90, 130, 210}});
        add({v, 210, 136, 256, {0, 70, 140}, {64, 70, 141}});
    }
    for (const char* v : {"split32", "split128", "splitvv"}) {
        for (int timing = 0; timing < 3; timing++) {
            add({v, 30, 300, 1040, {}, {}, 2});
        }
        add({v, 7, 130, 912, {}, {}, 8});
        add({v, 130, 257, 400, {}, {}, 3});
        add({.variant = v, .tokens = 7, .channels = 257, .depth = 272, .split = 4, .exact = false, .epilogue = 1 | 2 | 4, .extraD = 1});
        add({.variant = v, .tokens = 33, .channels = 260, .depth = 1040, .split = 5, .exact = false, .epilogue = 1 | 8});
    }
    return all;
}

} // namespace

int main(int count, char** arguments) {
    int part = count > 1 ? atoi(arguments[1]) : 0, parts = count > 2 ? atoi(arguments[2]) : 1, passed = 0, failed = 0, i = 0;
    const char* only = getenv("OCTET_ONLY");
    for (const Case& c : cases()) {
        if (i++ % parts != part || (only && strcmp(only, c.variant))) {
            continue;
        }
        std::string error = "no such variant";
        for (const Registered::Entry& e : Registered::all()) {
            if (!strcmp(e.variant.name, c.variant)) {
                error = check(e, c);
            }
        }
        const char* timings[] = {"eager", "lazy", "random"};
        printf("%s %s M=%d N=%d K=%d groups=%zu split=%d epilogue=%d %s seed %u%s%s\n", error.empty() ? "ok" : "FAILED",
                c.variant, c.tokens, c.channels, c.depth, c.begins.size(), c.split, c.epilogue, timings[c.timing], c.seed,
                error.empty() ? "" : ": ", error.c_str());
        fflush(stdout);
        (error.empty() ? passed : failed)++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed ? 1 : 0;
}
