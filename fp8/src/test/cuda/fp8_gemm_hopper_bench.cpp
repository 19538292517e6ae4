// Checks and times the variants of fp8_gemm_hopper.cu on a Hopper GPU: a program of its own, for machines that have a driver
// and nvcc but no JVM.
//
//   g++ -std=c++20 -O2 -I /usr/local/cuda/include fp8_gemm_hopper_bench.cpp -o fp8_gemm_hopper_bench -pthread -ldl
//   ./fp8_gemm_hopper_bench list|compile|check|bench|grouped DIR_OF_gemm_hopper.cu [results.json] [seconds] [variant ...]
//
// Each variant is compiled by nvcc for sm_90a, into the folder that OCTET_CUBINS names; what is there already is taken as
// it is. D is NaN before a product is checked; rows all over it are compared with sums
// in double on the GPU, and all of it must be finite. Times are the medians of graphs of many launches over rotated
// operands of together more than three times the second-level cache, divided by the launches.
#include <cuda.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <thread>

#include "hopper_case.hpp"

namespace {

template <class F>
F driver(const char* name) {
    static void* library = dlopen("libcuda.so.1", RTLD_NOW);
    void* f = library ? dlsym(library, name) : nullptr;
    if (!f) {
        fprintf(stderr, "no %s: %s\n", name, dlerror());
        exit(2);
    }
    return reinterpret_cast<F>(f);
}
// The names of the driver's versions, as cuda.h defines them.
#define OCTET_TEXT2(x) #x
#define OCTET_TEXT(x) OCTET_TEXT2(x)
#define CU(f) (driver<decltype(&f)>(OCTET_TEXT(f)))

void check(CUresult r, const char* what) {
    if (r != CUDA_SUCCESS) {
        const char* text = "?";
        CU(cuGetErrorString)(r, &text);
        fprintf(stderr, "%s: %s\n", what, text);
        exit(3);
    }
}
#define DO(f, ...) check(CU(f)(__VA_ARGS__), #f)

struct Compiled {
    Variant variant;
    CUmodule module = nullptr;
    CUfunction function = nullptr;
};

std::string directory, cubins;
int sms = 0;
long cacheBytes = 0;
CUstream stream;
CUmodule support;

Variant wide(const char* name, int rows, int cols, int stages, int cluster, int shareLeft, int overlap, int outF32 = 0) {
    return {name, rows, cols, stages, 0, cluster, shareLeft, 0, overlap, 1, 0, 0, 0, outF32};
}
Variant turned(const char* name, int cols, int stages, int cluster, int split, int outF32 = 0) {
    return {name, 128, cols, stages, 1, cluster, 0, split, 0, 0, 1, 0, 0, outF32};
}

std::vector<Variant> variants() {
    return {
        wide("128x96", 128, 96, 6, 1, 0, 0),
        wide("128x112", 128, 112, 6, 1, 0, 0),
        wide("128x128", 128, 128, 5, 1, 0, 0),
        wide("128x128s4", 128, 128, 4, 1, 0, 0),
        wide("128x128o", 128, 128, 5, 1, 0, 1),
        wide("128x128p", 128, 128, 5, 2, 0, 0),
        wide("128x128l", 128, 128, 5, 2, 1, 0),
        wide("128x128po", 128, 128, 5, 2, 0, 1),
        wide("128x128f", 128, 128, 6, 2, 0, 0, 1),
        wide("128x160", 128, 160, 5, 1, 0, 0),
        wide("128x160p", 128, 160, 5, 2, 0, 0),
        wide("128x192", 128, 192, 4, 1, 0, 0),
        wide("128x192p", 128, 192, 4, 2, 0, 0),
        wide("256x128", 256, 128, 3, 1, 0, 0),
        wide("256x128p", 256, 128, 3, 2, 0, 0),
        wide("256x128l", 256, 128, 3, 2, 1, 0),
        turned("t16", 16, 11, 1, 0),
        turned("t16s", 16, 11, 1, 1),
        turned("t32", 32, 10, 1, 0),
        turned("t32s", 32, 10, 1, 1),
        turned("t64", 64, 7, 1, 0),
        turned("t64p", 64, 7, 2, 0),
        turned("t64s", 64, 7, 1, 1),
        turned("t128", 128, 4, 1, 0),
        turned("t128p", 128, 4, 2, 0),
        turned("t128s", 128, 4, 1, 1),
    };
}

/// Null if the compiler refuses it.
CUmodule compile(const std::string& source, const std::string& name, const std::string& options) {
    std::string cubin = cubins + "/" + name + ".cubin", log = cubins + "/" + name + ".log";
    std::string command = "nvcc -std=c++17 -gencode=arch=compute_90a,code=sm_90a -cubin --ptxas-options=-v " + options
            + " -o " + cubin + " " + source + " > " + log + " 2>&1";
    if (access(cubin.c_str(), R_OK) != 0 && system(command.c_str()) != 0) {
        printf("%s failed, see %s\n", command.c_str(), log.c_str());
        return nullptr;
    }
    CUmodule m;
    DO(cuModuleLoad, &m, cubin.c_str());
    return m;
}

std::vector<Compiled> compile_all(const std::function<bool(const Variant&)>& wanted) {
    std::vector<Compiled> all;
    for (const Variant& v : variants()) {
        if (wanted(v)) {
            all.push_back({v});
        }
    }
    CUcontext context;
    DO(cuCtxGetCurrent, &context);
    std::vector<std::thread> threads;
    for (Compiled& c : all) {
        threads.emplace_back([&c, context] {
            DO(cuCtxSetCurrent, context);
            std::string options = "-DOCTET_KERNEL=octet_gemm" + c.variant.defines();
            size_t at = options.find("EPILOGUE=1"); // not timed here, and half of the time of a compilation
            if (at != std::string::npos) {
                options.replace(at, 10, "EPILOGUE=0");
            }
            c.module = compile(directory + "/fp8_gemm_hopper.cu", c.variant.name, options);
        });
    }
    for (std::thread& t : threads) {
        t.join();
    }
    std::erase_if(all, [](const Compiled& c) { return c.module == nullptr; });
    for (Compiled& c : all) {
        DO(cuModuleGetFunction, &c.function, c.module, "octet_gemm");
        DO(cuFuncSetAttribute, c.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, c.variant.sharedBytes());
    }
    return all;
}

void launch(CUfunction f, unsigned gridX, unsigned gridY, unsigned block, unsigned shared, unsigned cluster, bool chained, void** arguments) {
    CUlaunchAttribute attributes[2];
    memset(attributes, 0, sizeof attributes);
    CUlaunchConfig config;
    memset(&config, 0, sizeof config);
    config.gridDimX = gridX;
    config.gridDimY = gridY;
    config.gridDimZ = 1;
    config.blockDimX = block;
    config.blockDimY = config.blockDimZ = 1;
    config.sharedMemBytes = shared;
    config.hStream = stream;
    config.attrs = attributes;
    if (cluster > 1) {
        attributes[config.numAttrs].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
        attributes[config.numAttrs].value.clusterDim.x = cluster;
        attributes[config.numAttrs].value.clusterDim.y = attributes[config.numAttrs].value.clusterDim.z = 1;
        config.numAttrs++;
    }
    if (chained) {
        attributes[config.numAttrs].id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
        attributes[config.numAttrs].value.programmaticStreamSerializationAllowed = 1;
        config.numAttrs++;
    }
    DO(cuLaunchKernelEx, &config, f, arguments, nullptr);
}

CUfunction function(const char* name) {
    CUfunction f;
    DO(cuModuleGetFunction, &f, support, name);
    return f;
}

const char* encode(void* to, uint32_t element, uint32_t rank, void* base, const uint64_t* dims, const uint64_t* strides,
        const uint32_t* box, uint32_t swizzle) {
    static auto f = CU(cuTensorMapEncodeTiled);
    cuuint32_t ones[] = {1, 1, 1};
    CUtensorMapDataType type = element == 1 ? CU_TENSOR_MAP_DATA_TYPE_UINT8 : element == 2 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                                                            : CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    CUtensorMapSwizzle mode = swizzle == 128 ? CU_TENSOR_MAP_SWIZZLE_128B : swizzle == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
            : swizzle == 32 ? CU_TENSOR_MAP_SWIZZLE_32B : CU_TENSOR_MAP_SWIZZLE_NONE;
    CUtensorMap map;
    CUresult r = f(&map, type, rank, base, (const cuuint64_t*) dims, (const cuuint64_t*) strides, box, ones,
            CU_TENSOR_MAP_INTERLEAVE_NONE, mode, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    memcpy(to, &map, 128);
    return r == CUDA_SUCCESS ? nullptr : "cuTensorMapEncodeTiled";
}

struct Problem {
    std::string name;
    int m, n, k, groups = 1;
    std::vector<int> begins = {}, ends = {};
    double flop() const {
        double rows = 0;
        for (size_t i = 0; i < begins.size(); i++) {
            rows += ends[i] - begins[i];
        }
        return 2.0 * (begins.empty() ? m : rows) * n * k;
    }
    double bytes(int out) const {
        double rows = flop() / 2 / n / k;
        int active = 0;
        for (size_t i = 0; i < begins.size(); i++) {
            active += ends[i] > begins[i];
        }
        return rows * k * (1 + 4.0 / 128) + double(begins.empty() ? 1 : active) * n * k + rows * n * out;
    }
};

/// One set of operands.
struct Buffers {
    CUdeviceptr a, b, sa, sb, d;
};

struct Data {
    const Problem& p;
    int out;
    long pitchA, blocks, scaleRows;
    CUdeviceptr begins = 0, ends = 0, errors = 0;
    std::vector<Buffers> sets;
    std::vector<CUdeviceptr> owned;

    CUdeviceptr allocate(size_t bytes) {
        CUdeviceptr q;
        DO(cuMemAlloc, &q, bytes);
        owned.push_back(q);
        return q;
    }
    Data(const Problem& problem, int outBytes, int count) : p(problem), out(outBytes) {
        pitchA = (p.m + 3) / 4 * 4;
        blocks = (p.k + 127) / 128;
        scaleRows = (p.n + 127) / 128;
        errors = allocate(32);
        for (int i = 0; i < count; i++) {
            Buffers s = {allocate(size_t(p.m) * p.k), allocate(size_t(p.groups) * p.n * p.k), allocate(pitchA * blocks * 4),
                    allocate(size_t(p.groups) * scaleRows * blocks * 4), allocate(size_t(p.m) * p.n * 4)};
            codes(s.a, size_t(p.m) * p.k, 2 * i + 1);
            codes(s.b, size_t(p.groups) * p.n * p.k, 2 * i + 2);
            scales(s.sa, pitchA * blocks, 3);
            scales(s.sb, size_t(p.groups) * scaleRows * blocks, 5);
            sets.push_back(s);
        }
        if (!p.begins.empty()) {
            begins = allocate(p.begins.size() * 4);
            ends = allocate(p.ends.size() * 4);
            DO(cuMemcpyHtoD, begins, p.begins.data(), p.begins.size() * 4);
            DO(cuMemcpyHtoD, ends, p.ends.data(), p.ends.size() * 4);
        }
        DO(cuStreamSynchronize, stream);
    }
    ~Data() {
        for (CUdeviceptr q : owned) {
            DO(cuMemFree, q);
        }
    }
    void codes(CUdeviceptr q, long long n, unsigned seed) {
        void* arguments[] = {&q, &n, &seed};
        launch(function("fill_codes"), 1024, 1, 256, 0, 1, false, arguments);
    }
    void scales(CUdeviceptr q, long long n, unsigned seed) {
        void* arguments[] = {&q, &n, &seed};
        launch(function("fill_scales"), 64, 1, 256, 0, 1, false, arguments);
    }
};

struct Prepared {
    HopperMaps maps;
    HopperArguments arguments;
    unsigned grid, cluster;
};

Prepared prepare_launch(const Compiled& c, const Data& data, const Buffers& s, int band, int split) {
    const Problem& p = data.p;
    HopperProduct h;
    h.tokens = p.m;
    h.channels = p.n;
    h.depth = p.k;
    h.groups = p.groups;
    h.a = {(void*) s.a, (float*) s.sa, p.m, p.k, 0, data.pitchA, 0};
    h.b = {(void*) s.b, (float*) s.sb, p.n, p.k, (long) p.n * p.k, data.blocks, data.scaleRows * data.blocks};
    h.d = (void*) s.d;
    h.ldd = p.n;
    h.arguments.begins = (const int*) data.begins;
    h.arguments.ends = (const int*) data.ends;
    h.arguments.band = band;
    // Weights that are read once should not push out tokens that are read by all.
    bool few = p.m <= 256;
    h.arguments.keepLeft = c.variant.swapped ? !few : 1;
    h.arguments.keepRight = c.variant.swapped ? 1 : !few;
    Prepared r;
    if (const char* wrong = prepare(c.variant, h, r.maps, r.arguments, encode)) {
        fprintf(stderr, "%s: %s\n", c.variant.name, wrong);
        exit(5);
    }
    const Variant& v = c.variant;
    long tiles = 0;
    for (int g = 0; g < p.groups; g++) {
        long rows = p.begins.empty() ? p.m : p.ends[g] - p.begins[g];
        long t = v.tokenTile() * (v.clusterTokens() ? 2 : 1), ch = v.channelTile() * (v.cluster == 2 && !v.clusterTokens() ? 2 : 1);
        tiles += (rows + t - 1) / t * ((p.n + ch - 1) / ch);
    }
    r.cluster = v.split ? split : v.cluster;
    r.grid = v.split ? unsigned(tiles) * split : unsigned(std::min<long>(tiles, sms / v.cluster)) * v.cluster;
    return r;
}

void start(const Compiled& c, Prepared& r, bool chained) {
    void* arguments[] = {r.maps.left, r.maps.right, r.maps.leftScales, r.maps.rightScales, r.maps.d, &r.arguments};
    launch(c.function, r.grid, 1, 384, c.variant.sharedBytes(), r.cluster, chained, arguments);
}

/// Compares rows all over D of the first set with sums in double; whether all is well, and the figures.
bool errors(Data& data, bool isBf16, std::string& line) {
    const Problem& p = data.p;
    const Buffers& s = data.sets[0];
    int bf16 = isBf16;
    for (int g = 0; g < p.groups; g++) {
        int from = p.begins.empty() ? 0 : p.begins[g], to = p.begins.empty() ? p.m : p.ends[g];
        if (from >= to) {
            continue;
        }
        int step = std::max(1, (to - from) / 61);
        CUdeviceptr b = s.b + size_t(g) * p.n * p.k, sb = s.sb + size_t(g) * data.scaleRows * data.blocks * 4;
        int n = p.n, k = p.k;
        long long pitch = data.pitchA;
        void* arguments[] = {(void*) &s.a, (void*) &s.sa, &pitch, &b, &sb, &to, &n, &k, (void*) &s.d, &bf16, &from, &step,
                &data.errors};
        launch(function("compare"), (p.n + 127) / 128, (to - from + step - 1) / step, 128, 0, 1, false, arguments);
        CUdeviceptr d = s.d + size_t(from) * p.n * (bf16 ? 2 : 4);
        long long count = (long long) (to - from) * p.n;
        void* counted[] = {&d, &count, &bf16, &data.errors};
        launch(function("not_finite"), 512, 1, 256, 0, 1, false, counted);
    }
    double found[4];
    DO(cuStreamSynchronize, stream);
    DO(cuMemcpyDtoH, found, data.errors, 32);
    double diff = 1 - 2 * found[0] / found[1];
    char text[200];
    snprintf(text, sizeof text, "\"calc_diff\": %.3g, \"max_error_over_magnitude\": %.3g, \"not_finite\": %.0f", diff, found[2],
            found[3]);
    line = text;
    // BF16 rounds by 2^-9 of the result; the tensor core keeps 13 bits after the leading one in each of 4 steps.
    return found[3] == 0 && diff < 2e-5 && found[2] < 0x1p-8;
}

/// D is NaN before. The text of what differs, empty if nothing does; the figures go to the line.
std::string compare(const Compiled& c, Data& data, int band, int split, std::string& line) {
    const Buffers& s = data.sets[0];
    DO(cuMemsetD8Async, s.d, 0xFF, size_t(data.p.m) * data.p.n * 4, stream);
    DO(cuMemsetD8Async, data.errors, 0, 32, stream);
    Prepared r = prepare_launch(c, data, s, band, split);
    start(c, r, false);
    return errors(data, !c.variant.outF32, line) ? "" : line;
}

/// Microseconds of one of many launches in a graph; one(i) makes the i-th.
double graph_us(Data& data, const std::function<void(int)>& one) {
    double estimate = std::max(data.p.flop() / 1e15, data.p.bytes(2) / 3.5e12) * 1e6;
    int launches = int(std::max<double>(data.sets.size(), std::min(200.0, 4000 / estimate)));
    CUgraph graph;
    CUgraphExec exec;
    DO(cuStreamBeginCapture, stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    for (int i = 0; i < launches; i++) {
        one(i);
    }
    DO(cuStreamEndCapture, stream, &graph);
    DO(cuGraphInstantiate, &exec, graph, 0);
    CUevent from, to;
    DO(cuEventCreate, &from, CU_EVENT_DEFAULT);
    DO(cuEventCreate, &to, CU_EVENT_DEFAULT);
    std::vector<float> times;
    DO(cuGraphLaunch, exec, stream);
    for (int i = 0; i < 7; i++) {
        DO(cuEventRecord, from, stream);
        DO(cuGraphLaunch, exec, stream);
        DO(cuEventRecord, to, stream);
        DO(cuEventSynchronize, to);
        float ms;
        DO(cuEventElapsedTime, &ms, from, to);
        times.push_back(ms * 1000 / launches);
    }
    DO(cuEventDestroy, from);
    DO(cuEventDestroy, to);
    DO(cuGraphExecDestroy, exec);
    DO(cuGraphDestroy, graph);
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

double time_us(const Compiled& c, Data& data, int band, int split, bool chained) {
    std::vector<Prepared> all;
    for (const Buffers& s : data.sets) {
        all.push_back(prepare_launch(c, data, s, band, split));
    }
    return graph_us(data, [&](int i) { start(c, all[i % all.size()], chained); });
}

// ---- cublasLt's matmul with the same scales, where its library is found: the comparator -----------------------------------

struct Lt {
    // The values are those of cublasLt.h 13; the header is not needed.
    static constexpr int COMPUTE_32F = 68, R_32F = 0, R_16BF = 14, R_8F_E4M3 = 28, OP_N = 0, OP_T = 1;
    static constexpr int TRANSA = 3, TRANSB = 4, A_SCALE = 17, B_SCALE = 18, A_MODE = 31, B_MODE = 32, WORKSPACE_BYTES = 1;
    static constexpr int VEC128 = 4, BLOCK128 = 5;
    struct Heuristic {
        unsigned long long algorithm[8];
        size_t workspace;
        int state;
        float waves;
        int reserved[4];
    };
    void* library = nullptr;
    void* handle = nullptr;
    CUdeviceptr workspace = 0;
    static constexpr size_t WORKSPACE = 64 << 20;

    template <class... A>
    int call(const char* name, A... arguments) {
        auto f = reinterpret_cast<int (*)(A...)>(dlsym(library, name));
        return f ? f(arguments...) : -1;
    }
    Lt() {
        for (const char* name : {"libcublasLt.so.13", "libcublasLt.so", "/usr/local/cuda/lib64/libcublasLt.so.13"}) {
            library = library ? library : dlopen(name, RTLD_NOW);
        }
        if (!library || call("cublasLtCreate", &handle) != 0) {
            printf("no cublasLt: no comparison\n");
            library = nullptr;
            return;
        }
        DO(cuMemAlloc, &workspace, WORKSPACE);
    }

    /// D^T = B * A^T in cublasLt's columns. Returns microseconds, or less than 0 and prints why not.
    double time_us(Data& data, std::string& figures) {
        const Problem& p = data.p;
        if (!library || p.groups > 1 || p.m % 4 || p.n % 4 || data.blocks % 4) {
            return -1; // the scales of blocks are padded to 4 along K there
        }
        void *desc = nullptr, *a = nullptr, *b = nullptr, *d = nullptr, *preference = nullptr;
        int op = OP_T, no = OP_N, block = BLOCK128, vector = VEC128, found = 0;
        int wrong = call("cublasLtMatmulDescCreate", &desc, COMPUTE_32F, R_32F);
        auto set = [&](int attribute, const void* value, size_t bytes) {
            wrong |= call("cublasLtMatmulDescSetAttribute", desc, attribute, value, bytes);
        };
        set(TRANSA, &op, 4);
        set(TRANSB, &no, 4);
        set(A_MODE, &block, 4);
        set(B_MODE, &vector, 4);
        CUdeviceptr sa = data.sets[0].sb, sb = data.sets[0].sa;
        set(A_SCALE, &sa, 8);
        set(B_SCALE, &sb, 8);
        uint64_t k = uint64_t(p.k), n = uint64_t(p.n), m = uint64_t(p.m);
        wrong |= call("cublasLtMatrixLayoutCreate", &a, R_8F_E4M3, k, n, int64_t(k));
        wrong |= call("cublasLtMatrixLayoutCreate", &b, R_8F_E4M3, k, m, int64_t(k));
        wrong |= call("cublasLtMatrixLayoutCreate", &d, R_16BF, n, m, int64_t(n));
        wrong |= call("cublasLtMatmulPreferenceCreate", &preference);
        size_t bytes = WORKSPACE;
        wrong |= call("cublasLtMatmulPreferenceSetAttribute", preference, WORKSPACE_BYTES, (const void*) &bytes, sizeof bytes);
        Heuristic all[8];
        wrong |= call("cublasLtMatmulAlgoGetHeuristic", handle, desc, a, b, d, d, preference, 8, &all[0], &found);
        if (wrong || found == 0) {
            printf("cublasLt refuses M=%d N=%d K=%d: status %d, %d algorithms\n", p.m, p.n, p.k, wrong, found);
            return -1;
        }
        float one = 1, zero = 0;
        double best = -1;
        int bestAlgorithm = 0;
        auto run = [&](const Buffers& s, int algorithm) {
            CUdeviceptr as = s.sb, bs = s.sa;
            set(A_SCALE, &as, 8);
            set(B_SCALE, &bs, 8);
            return call("cublasLtMatmul", handle, desc, (const void*) &one, (void*) s.b, a, (void*) s.a, b, (const void*) &zero,
                    (void*) s.d, d, (void*) s.d, d, (const void*) all[algorithm].algorithm, (void*) workspace, WORKSPACE, stream);
        };
        for (int i = 0; i < found; i++) {
            if (run(data.sets[0], i) != 0) {
                continue;
            }
            double us = graph_us(data, [&](int j) { run(data.sets[j % data.sets.size()], i); });
            if (best < 0 || us < best) {
                best = us;
                bestAlgorithm = i;
            }
        }
        if (best > 0) {
            const Buffers& s = data.sets[0];
            DO(cuMemsetD8Async, s.d, 0xFF, size_t(p.m) * p.n * 4, stream);
            DO(cuMemsetD8Async, data.errors, 0, 32, stream);
            run(s, bestAlgorithm);
            errors(data, true, figures);
        }
        return best;
    }
};

} // namespace

int main(int count, char** words) {
    if (count < 3) {
        fprintf(stderr, "usage: %s list|compile|check|bench|grouped DIR_OF_gemm_hopper.cu [results.json] [seconds] [variant ...]\n",
                words[0]);
        return 1;
    }
    std::string mode = words[1];
    directory = words[2];
    FILE* json = count > 3 && *words[3] ? fopen(words[3], "w") : nullptr;
    double limit = count > 4 ? atof(words[4]) : 1e9;
    std::vector<std::string> names(words + std::min(count, 5), words + count);
    auto wanted = [&](const Variant& v) { return names.empty() || std::find(names.begin(), names.end(), v.name) != names.end(); };
    if (mode == "list") {
        for (const Variant& v : variants()) {
            printf("%s\n", v.name);
        }
        return 0;
    }
    setvbuf(stdout, nullptr, _IOLBF, 0); // what was printed is there even if this is killed
    char fresh[] = "/tmp/octet-hopper-XXXXXX";
    cubins = getenv("OCTET_CUBINS") ? getenv("OCTET_CUBINS") : mkdtemp(fresh);
    auto begun = std::chrono::steady_clock::now();
    auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count(); };
    DO(cuInit, 0);
    CUdevice device;
    CUcontext context;
    DO(cuDeviceGet, &device, 0);
    DO(cuDevicePrimaryCtxRetain, &context, device);
    DO(cuCtxSetCurrent, context);
    DO(cuStreamCreate, &stream, CU_STREAM_NON_BLOCKING);
    char name[100];
    int cache;
    DO(cuDeviceGetName, name, 100, device);
    DO(cuDeviceGetAttribute, &sms, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device);
    DO(cuDeviceGetAttribute, &cache, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, device);
    cacheBytes = cache;
    printf("%s, %d multiprocessors, %d bytes of L2\n", name, sms, cache);
    std::string here = __FILE__;
    here = here.find('/') == std::string::npos ? "." : here.substr(0, here.rfind('/'));
    support = compile(here + "/fp8_gemm_hopper_bench.cu", "support", "");
    std::vector<Compiled> all = compile_all(wanted);
    if (mode == "compile") {
        printf("%zu of %td variants compiled after %.1f s\n", all.size(), std::ranges::count_if(variants(), wanted), elapsed());
        return support ? 0 : 4;
    }
    if (!support || all.empty()) {
        fprintf(stderr, "nothing was compiled\n");
        return 4;
    }
    std::unique_ptr<Lt> lt = mode == "bench" ? std::make_unique<Lt>() : nullptr;
    printf("%zu variants ready after %.1f s\n", all.size(), elapsed());

    std::vector<Problem> problems;
    if (mode == "check") {
        problems = {{"odd", 301, 584, 1040}, {"one", 1, 136, 128}, {"tails", 130, 2112, 7168}, {"wide", 300, 7168, 512},
                {"groups", 700, 576, 1024, 4, {0, 5, 300, 300}, {5, 300, 300, 700}}};
    } else if (mode == "bench") {
        for (int m : {64, 128, 4096}) {
            for (auto [n, k] : {std::pair{2112, 7168}, {24576, 1536}, {32768, 512}, {7168, 16384}, {4096, 7168}, {7168, 2048}}) {
                problems.push_back({"dense", m, n, k});
            }
        }
    } else {
        auto grouped = [&](const char* what, int groups, int place, int rows, int n, int k) {
            Problem p = {what, groups * place, n, k, groups};
            for (int g = 0; g < groups; g++) {
                p.begins.push_back(g * place);
                p.ends.push_back(g * place + rows);
            }
            problems.push_back(p);
        };
        for (auto [n, k] : {std::pair{4096, 7168}, {7168, 2048}}) {
            grouped("contiguous", 8, 4096, 4096, n, k);
            grouped("contiguous", 4, 8192, 8192, n, k);
            grouped("masked", 1, 1024, 1024, n, k);
            grouped("masked", 2, 512, 512, n, k);
            grouped("masked", 4, 256, 256, n, k);
            grouped("masked", 32, 128, 20, n, k);
        }
    }
    if (json) {
        fprintf(json, "{\"device\": \"%s\", \"multiprocessors\": %d, \"results\": [", name, sms);
    }
    int failed = 0, passed = 0, skipped = 0;
    bool first = true;
    for (const Problem& p : problems) {
        double bytes = double(p.m) * p.k + double(p.groups) * p.n * p.k + double(p.m) * p.n * 4;
        int sets = mode == "check" ? 1 : std::max(2, std::min(40, int(3.2 * cacheBytes / bytes) + 1));
        Data data(p, 2, sets);
        double best = 1e30;
        std::string bestName;
        for (const Compiled& c : all) {
            const Variant& v = c.variant;
            long rows = p.begins.empty() ? p.m : p.ends[0] - p.begins[0];
            bool fits = mode == "check" || (rows <= 256 ? (v.swapped && (v.cols >= rows || v.cols == 128 || (v.cols == 64 && rows <= 128)))
                    || (!v.swapped && rows >= 128 && v.rows == 128) : !v.swapped);
            if (!fits || (v.split && p.groups > 1)) {
                continue;
            }
            for (int split : {1, 2, 3, 4, 5, 6, 8}) {
                long tiles = long((p.m + v.tokenTile() - 1) / v.tokenTile()) * ((p.n + v.channelTile() - 1) / v.channelTile());
                bool useful = v.split ? split > 1 && (mode == "check" ? split == 3 || split == 8 : tiles * split <= 2 * sms && split <= data.blocks)
                                      : split == 1;
                for (int band : {8, 16}) {
                    if (!useful || (band == 16 && (mode == "check" || rows < 1024))) {
                        continue;
                    }
                    if (elapsed() > limit) {
                        skipped++;
                        continue;
                    }
                    std::string figures;
                    std::string wrong = compare(c, data, band, split, figures);
                    (wrong.empty() ? passed : failed)++;
                    double us = 0, chained = 0;
                    if (mode != "check") {
                        us = time_us(c, data, band, split, false);
                        chained = time_us(c, data, band, split, true);
                        double least = std::min(us, chained);
                        if (wrong.empty() && least < best) {
                            best = least;
                            bestName = std::string(v.name) + " split " + std::to_string(split) + " band " + std::to_string(band);
                        }
                    }
                    if (!wrong.empty() || mode == "check") {
                        printf("%s %s M=%d N=%d K=%d split %d: %s\n", wrong.empty() ? "ok" : "FAILED", v.name, p.m, p.n, p.k, split, figures.c_str());
                        fflush(stdout);
                    }
                    if (json) {
                        fprintf(json, "%s\n{\"kind\": \"%s\", \"m\": %d, \"n\": %d, \"k\": %d, \"groups\": %d, \"variant\": \"%s\", \"split\": %d, "
                                "\"band\": %d, \"us\": %.3f, \"us_chained\": %.3f, \"tflops\": %.1f, \"gbs\": %.1f, \"right\": %s, %s}",
                                first ? "" : ",", p.name.c_str(), p.m, p.n, p.k, p.groups, v.name, split, band, us, chained,
                                us > 0 ? p.flop() / us / 1e6 : 0, us > 0 ? p.bytes(v.outF32 ? 4 : 2) / us / 1e3 : 0,
                                wrong.empty() ? "true" : "false", figures.c_str());
                        first = false;
                        fflush(json);
                    }
                }
            }
        }
        double peer = -1;
        if (lt) {
            std::string figures = "\"calc_diff\": null";
            peer = lt->time_us(data, figures);
            if (json && peer > 0) {
                fprintf(json, "%s\n{\"kind\": \"%s\", \"m\": %d, \"n\": %d, \"k\": %d, \"groups\": 1, \"variant\": \"cublasLt\", \"us\": "
                        "%.3f, \"tflops\": %.1f, %s}", first ? "" : ",", p.name.c_str(), p.m, p.n, p.k, peer, p.flop() / peer / 1e6,
                        figures.c_str());
                first = false;
            }
        }
        if (mode != "check") {
            printf("%-10s M=%-5d N=%-5d K=%-5d groups %-2d best %8.2f us %7.1f TFLOP/s %7.1f GB/s  %-28s cublasLt %8.2f us\n", p.name.c_str(), p.m,
                    p.n, p.k, p.groups, best, p.flop() / best / 1e6, p.bytes(2) / best / 1e3, bestName.c_str(), peer);
            fflush(stdout);
        }
    }
    if (json) {
        fprintf(json, "\n]}\n");
        fclose(json);
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed ? 1 : 0;
}
