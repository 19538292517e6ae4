// D = epilogue(A * B^T) of FP8 matrices with fine-grained scales on Hopper (sm_90a): wgmma fed by TMA.
//
// wgmma multiplies a left tile of 64-row slabs with a right tile of up to 192 rows, both contiguous along K. Left is A and
// right is B, or, for few rows of A (OCTET_SWAPPED), left is B and right is A, and the result leaves transposed. The
// words "row" and "column" mean rows of the left and of the right tile; "token" and "channel" mean rows of A and of B.
//
// A block has three warpgroups. The first loads: one thread keeps a ring of OCTET_STAGES stages filled, each 128 of K
// deep: left tile, right tile, and the scales of the operand that has one per row. The other two multiply: each has half of
// the left rows. Per stage a warpgroup issues four wgmma of K = 32 into registers that begin at zero, waits, frees the
// stage, and adds the sums times their scales to its FP32 totals: the tensor core keeps only about 14 bits (DeepSeek-V3,
// section 3.3.2), so nothing stays in it for longer than 128 of K. While one warpgroup promotes, the other one's wgmma run.
// With OCTET_OVERLAP a warpgroup also issues the next stage's wgmma before it promotes; it needs twice the registers.
//
// Blocks are persistent: block i takes tiles i, i + blocks, ... of all groups. OCTET_CLUSTER = 2 blocks share the right
// tile (OCTET_SHARE_LEFT: the left one); each loads half of it for both. With OCTET_SPLIT the blocks of a cluster share
// one tile, each with a part of K, and add up in rank order through distributed shared memory: no atomics, and the same
// bits on every run.
//
// Parameters of the compilation, all macros: OCTET_KERNEL the name; OCTET_ROWS 128 or 256; OCTET_COLS 16 to 192;
// OCTET_STAGES; OCTET_SWAPPED, OCTET_CLUSTER, OCTET_SHARE_LEFT, OCTET_SPLIT, OCTET_OVERLAP; OCTET_LEFT_VECTOR and
// OCTET_RIGHT_VECTOR, 1 where the operand has a scale for each row, 0 where it has one for each 128 rows;
// OCTET_LEFT_E5M2, OCTET_RIGHT_E5M2; OCTET_OUT_F32, else BF16. With OCTET_HOST, an emulation gives the
// instructions. "PTX" is the PTX ISA, version 9.

#ifndef OCTET_SWAPPED
#define OCTET_SWAPPED 0
#endif
#ifndef OCTET_CLUSTER
#define OCTET_CLUSTER 1
#endif
#ifndef OCTET_SHARE_LEFT
#define OCTET_SHARE_LEFT 0
#endif
#ifndef OCTET_SPLIT
#define OCTET_SPLIT 0
#endif
#ifndef OCTET_OVERLAP
#define OCTET_OVERLAP 0
#endif
#ifndef OCTET_LEFT_E5M2
#define OCTET_LEFT_E5M2 0
#endif
#ifndef OCTET_RIGHT_E5M2
#define OCTET_RIGHT_E5M2 0
#endif

#define OCTET_DEVICE __device__ __forceinline__

#ifdef OCTET_HOST
OCTET_DEVICE void wgmma(float (&d)[OCTET_COLS / 2], unsigned long long left, unsigned long long right, int accumulate) {
    octet_hopper::wgmma<OCTET_COLS, OCTET_LEFT_E5M2 != 0, OCTET_RIGHT_E5M2 != 0>(d, left, right, accumulate);
}
#else

/** What cuTensorMapEncodeTiled fills in. */
struct alignas(64) TensorMap {
    char bytes[128];
};

// ---- Instructions -------------------------------------------------------------------------------------------------

OCTET_DEVICE unsigned thread_index() {
    return threadIdx.x;
}

OCTET_DEVICE unsigned block_index() {
    return blockIdx.x;
}

OCTET_DEVICE unsigned block_count() {
    return gridDim.x;
}

OCTET_DEVICE unsigned cluster_rank() {
    unsigned r;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return r;
}

OCTET_DEVICE unsigned cluster_size() {
    unsigned r;
    asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(r));
    return r;
}

OCTET_DEVICE unsigned dynamic_shared() {
    extern __shared__ __align__(1024) char memory[];
    return (unsigned) __cvta_generic_to_shared(memory);
}

// The same place in the shared memory of another block of the cluster (PTX 9.7.9, mapa).
OCTET_DEVICE unsigned peer_address(unsigned address, unsigned rank) {
    unsigned r;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(r) : "r"(address), "r"(rank));
    return r;
}

OCTET_DEVICE float load_shared(unsigned address) {
    float v;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(address) : "memory");
    return v;
}

OCTET_DEVICE void load_shared(unsigned address, float& x, float& y) {
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(x), "=f"(y) : "r"(address) : "memory");
}

OCTET_DEVICE void store_shared(unsigned address, float v) {
    asm volatile("st.shared.f32 [%0], %1;" : : "r"(address), "f"(v) : "memory");
}

// Of any block of the cluster.
OCTET_DEVICE void load_cluster(unsigned address, float (&v)[4]) {
    asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v[0]), "=f"(v[1]), "=f"(v[2]), "=f"(v[3]) : "r"(address) : "memory");
}

OCTET_DEVICE float load_constant(const float* p) {
    return __ldg(p);
}

OCTET_DEVICE float shuffle(float v, int lane) {
    return __shfl_sync(0xffffffffu, v, lane);
}

// Two floats rounded to nearest even, the first in the low half.
OCTET_DEVICE unsigned pack_bf16(float low, float high) {
    unsigned r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

OCTET_DEVICE float bits_to_float(unsigned bits) {
    return __uint_as_float(bits);
}

OCTET_DEVICE void block_barrier() {
    __syncthreads();
}

OCTET_DEVICE void named_barrier(int id, int threads) {
    asm volatile("bar.sync %0, %1;" : : "r"(id), "r"(threads) : "memory");
}

// All threads of all blocks of the cluster; release and acquire (PTX 9.7.13.4).
OCTET_DEVICE void cluster_barrier() {
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" : : : "memory");
}

// mbarrier, PTX 9.7.13.15: a phase ends when all arrivals and all bytes announced are there. A wait for a parity returns
// once the phase of that parity has ended; before the first phase ends, the one "before" it counts as parity 1.

OCTET_DEVICE void mbarrier_init(unsigned barrier, unsigned arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" : : "r"(barrier), "r"(arrivals) : "memory");
}

// Makes the initialised barriers visible to the other blocks of the cluster and to TMA.
OCTET_DEVICE void fence_mbarrier_init() {
    asm volatile("fence.mbarrier_init.release.cluster;" : : : "memory");
    asm volatile("fence.proxy.async.shared::cta;" : : : "memory");
}

OCTET_DEVICE void mbarrier_arrive_expect(unsigned barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" : : "r"(barrier), "r"(bytes) : "memory");
}

OCTET_DEVICE void mbarrier_arrive(unsigned barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" : : "r"(barrier) : "memory");
}

// At the same barrier of a block of the cluster.
OCTET_DEVICE void mbarrier_arrive_peer(unsigned barrier, unsigned rank) {
    asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];"
                 : : "r"(peer_address(barrier, rank)) : "memory");
}

OCTET_DEVICE void mbarrier_wait(unsigned barrier, unsigned parity) {
    asm volatile("{\n\t.reg .pred done;\n"
                 "again:\n\t"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n\t"
                 "@!done bra again;\n\t}" : : "r"(barrier), "r"(parity) : "memory");
}

// The same, after arrivals of other blocks.
OCTET_DEVICE void mbarrier_wait_cluster(unsigned barrier, unsigned parity) {
    asm volatile("{\n\t.reg .pred done;\n"
                 "again:\n\t"
                 "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n\t"
                 "@!done bra again;\n\t}" : : "r"(barrier), "r"(parity) : "memory");
}

// Orders ordinary writes to shared memory before what TMA reads there after the next barrier (PTX 9.7.13.4, membar).
OCTET_DEVICE void fence_async() {
    asm volatile("fence.proxy.async.shared::cta;" : : : "memory");
}

// TMA, PTX 9.7.9.27: coordinates count elements, the contiguous dimension first. Outside of the tensor it reads zeros,
// which count as bytes too, and writes nothing.

OCTET_DEVICE unsigned long long cache_policy(bool keep) {
    unsigned long long p;
    if (keep) {
        asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(p));
    } else {
        asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(p));
    }
    return p;
}

OCTET_DEVICE void tma_prefetch_map(const TensorMap* map) {
    asm volatile("prefetch.tensormap [%0];" : : "l"(map) : "memory");
}

OCTET_DEVICE void tma_load(unsigned to, const TensorMap* map, unsigned barrier, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
                 : : "r"(to), "l"(map), "r"(barrier), "r"(x), "r"(y) : "memory");
}

OCTET_DEVICE void tma_load(unsigned to, const TensorMap* map, unsigned barrier, int x, int y, int z,
        unsigned long long policy) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint"
                 " [%0], [%1, {%3, %4, %5}], [%2], %6;"
                 : : "r"(to), "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "l"(policy) : "memory");
}

// To the same address in each block of the mask, and its bytes to the same barrier there.
OCTET_DEVICE void tma_load_multicast(unsigned to, const TensorMap* map, unsigned barrier, int x, int y, int z,
        unsigned short mask, unsigned long long policy) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster"
                 ".L2::cache_hint [%0], [%1, {%3, %4, %5}], [%2], %6, %7;"
                 : : "r"(to), "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "h"(mask), "l"(policy) : "memory");
}

OCTET_DEVICE void tma_store(const TensorMap* map, unsigned from, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];"
                 : : "l"(map), "r"(from), "r"(x), "r"(y) : "memory");
}

OCTET_DEVICE void tma_store_commit() {
    asm volatile("cp.async.bulk.commit_group;" : : : "memory");
}

// Until shared memory may be written again.
OCTET_DEVICE void tma_store_wait_read() {
    asm volatile("cp.async.bulk.wait_group.read 0;" : : : "memory");
}

OCTET_DEVICE void tma_store_wait() {
    asm volatile("cp.async.bulk.wait_group 0;" : : : "memory");
}

// Four 8x8 matrices of 16-bit elements; lane 8 i + r gives the address of row r of matrix i (PTX 9.7.14.5.16).
OCTET_DEVICE void store_matrices(unsigned address, unsigned a, unsigned b, unsigned c, unsigned d) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
                 : : "r"(address), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}

template <int COUNT>
OCTET_DEVICE void more_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" : : "n"(COUNT));
}

template <int COUNT>
OCTET_DEVICE void fewer_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" : : "n"(COUNT));
}

// Waits for the kernels before this one in a chain of programmatic dependent launches, and lets the next one start.
OCTET_DEVICE void wait_for_previous_kernel() {
    asm volatile("griddepcontrol.wait;" : : : "memory");
}

OCTET_DEVICE void start_next_kernel() {
    asm volatile("griddepcontrol.launch_dependents;" : : : "memory");
}

// Keeps the compiler from moving what it does with accumulators over a wgmma boundary.
OCTET_DEVICE void pin(float& v) {
    asm volatile("" : "+f"(v) : : "memory");
}

OCTET_DEVICE void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" : : : "memory");
}

OCTET_DEVICE void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory");
}

template <int PENDING>
OCTET_DEVICE void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(PENDING) : "memory");
}

// Registers and operands of a wgmma with OCTET_COLS / 2 accumulators, in pieces of 8.
#define OCTET_W0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define OCTET_W1 "%8, %9, %10, %11, %12, %13, %14, %15"
#define OCTET_W2 "%16, %17, %18, %19, %20, %21, %22, %23"
#define OCTET_W3 "%24, %25, %26, %27, %28, %29, %30, %31"
#define OCTET_W4 "%32, %33, %34, %35, %36, %37, %38, %39"
#define OCTET_W5 "%40, %41, %42, %43, %44, %45, %46, %47"
#define OCTET_W6 "%48, %49, %50, %51, %52, %53, %54, %55"
#define OCTET_W7 "%56, %57, %58, %59, %60, %61, %62, %63"
#define OCTET_W8 "%64, %65, %66, %67, %68, %69, %70, %71"
#define OCTET_W9 "%72, %73, %74, %75, %76, %77, %78, %79"
#define OCTET_W10 "%80, %81, %82, %83, %84, %85, %86, %87"
#define OCTET_W11 "%88, %89, %90, %91, %92, %93, %94, %95"
#define OCTET_F8(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), \
    "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#if OCTET_COLS == 16
#define OCTET_REGISTERS OCTET_W0
#define OCTET_OPERANDS OCTET_F8(0)
#define OCTET_INPUTS "%8, %9, p, 1, 1"
#define OCTET_SCALE_D "%10"
#elif OCTET_COLS == 32
#define OCTET_REGISTERS OCTET_W0 ", " OCTET_W1
#define OCTET_OPERANDS OCTET_F8(0), OCTET_F8(8)
#define OCTET_INPUTS "%16, %17, p, 1, 1"
#define OCTET_SCALE_D "%18"
#elif OCTET_COLS == 48
#define OCTET_REGISTERS OCTET_W0 ", " OCTET_W1 ", " OCTET_W2
#define OCTET_OPERANDS OCTET_F8(0), OCTET_F8(8), OCTET_F8(16)
#define OCTET_INPUTS "%24, %25, p, 1, 1"
#define OCTET_SCALE_D "%26"
#elif OCTET_COLS == 64
#define OCTET_REGISTERS OCTET_W0 ", " OCTET_W1 ", " OCTET_W2 ", " OCTET_W3
#define OCTET_OPERANDS OCTET_F8(0), OCTET_F8(8), OCTET_F8(16), OCTET_F8(24)
#define OCTET_INPUTS "%32, %33, p, 1, 1"
#define OCTET_SCALE_D "%34"
#elif OCTET_COLS == 80
#define OCTET_REGISTERS OCTET_W0 ", " OCTET_W1 ", " OCTET_W2 ", " OCTET_W3 ", " OCTET_W4
#define OCTET_OPERANDS OCTET_F8(0), OCTET_F8(8), OCTET_F8(16), OCTET_F8(24), OCTET_F8(32)
#define OCTET_INPUTS "%40, %41, p, 1, 1"
#define OCTET_SCALE_D "%42"
#elif OCTET_COLS == 96
#define OCTET_REGISTERS OCTET_W0 ", " OCTET_W1 ", " OCTET_W2 ", " OCTET_W3 ", " OCTET_W4 ", " OCTET_W5
#define OCTET_OPERANDS OCTET_F8(0), OCTET_F8(8), OCTET_F8(16), OCTET_F8(24), OCTET_F8(32), OCTET_F8(40)
#define OCTET_INPUTS "%48, %49, p, 1, 1"
#define OCTET_SCALE_D "%50"
#elif OCTET_COLS == 112
#define OCTET_REGISTERS OCTET_W0 ", " OCTET_W1 ", " OCTET_W2 ", " OCTET_W3 ", " OCTET_W4 ", " OCTET_W5 ", " OCTET_W6
#define OCTET_OPERANDS OCTET_F8(0), OCTET_F8(8), OCTET_F8(16), OCTET_F8(24), OCTET_F8(32), OCTET_F8(40), OCTET_F8(48)
#define OCTET_INPUTS "%56, %57, p, 1, 1"
#define OCTET_SCALE_D "%58"
#elif OCTET_COLS == 128
#define OCTET_REGISTERS OCTET_W0 ", " OCTET_W1 ", " OCTET_W2 ", " OCTET_W3 ", " OCTET_W4 ", " OCTET_W5 ", " OCTET_W6 ", " OCTET_W7
#define OCTET_OPERANDS OCTET_F8(0), OCTET_F8(8), OCTET_F8(16), OCTET_F8(24), OCTET_F8(32), OCTET_F8(40), OCTET_F8(48), OCTET_F8(56)
#define OCTET_INPUTS "%64, %65, p, 1, 1"
#define OCTET_SCALE_D "%66"
#elif OCTET_COLS == 144
#define OCTET_REGISTERS OCTET_W0 ", " OCTET_W1 ", " OCTET_W2 ", " OCTET_W3 ", " OCTET_W4 ", " OCTET_W5 ", " OCTET_W6 ", " OCTET_W7 ", " OCTET_W8
#define OCTET_OPERANDS OCTET_F8(0), OCTET_F8(8), OCTET_F8(16), OCTET_F8(24), OCTET_F8(32), OCTET_F8(40), OCTET_F8(48), OCTET_F8(56), OCTET_F8(64)
#define OCTET_INPUTS "%72, %73, p, 1, 1"
#define OCTET_SCALE_D "%74"
#elif OCTET_COLS == 160
#define OCTET_REGISTERS OCTET_W0 ", " OCTET_W1 ", " OCTET_W2 ", " OCTET_W3 ", " OCTET_W4 ", " OCTET_W5 ", " OCTET_W6 ", " OCTET_W7 ", " OCTET_W8 ", " OCTET_W9
#define OCTET_OPERANDS OCTET_F8(0), OCTET_F8(8), OCTET_F8(16), OCTET_F8(24), OCTET_F8(32), OCTET_F8(40), OCTET_F8(48), OCTET_F8(56), OCTET_F8(64), OCTET_F8(72)
#define OCTET_INPUTS "%80, %81, p, 1, 1"
#define OCTET_SCALE_D "%82"
#elif OCTET_COLS == 176
#define OCTET_REGISTERS OCTET_W0 ", " OCTET_W1 ", " OCTET_W2 ", " OCTET_W3 ", " OCTET_W4 ", " OCTET_W5 ", " OCTET_W6 ", " OCTET_W7 ", " OCTET_W8 ", " OCTET_W9 ", " OCTET_W10
#define OCTET_OPERANDS OCTET_F8(0), OCTET_F8(8), OCTET_F8(16), OCTET_F8(24), OCTET_F8(32), OCTET_F8(40), OCTET_F8(48), OCTET_F8(56), OCTET_F8(64), OCTET_F8(72), OCTET_F8(80)
#define OCTET_INPUTS "%88, %89, p, 1, 1"
#define OCTET_SCALE_D "%90"
#elif OCTET_COLS == 192
#define OCTET_REGISTERS OCTET_W0 ", " OCTET_W1 ", " OCTET_W2 ", " OCTET_W3 ", " OCTET_W4 ", " OCTET_W5 ", " OCTET_W6 ", " OCTET_W7 ", " OCTET_W8 ", " OCTET_W9 ", " OCTET_W10 ", " OCTET_W11
#define OCTET_OPERANDS OCTET_F8(0), OCTET_F8(8), OCTET_F8(16), OCTET_F8(24), OCTET_F8(32), OCTET_F8(40), OCTET_F8(48), OCTET_F8(56), OCTET_F8(64), OCTET_F8(72), OCTET_F8(80), OCTET_F8(88)
#define OCTET_INPUTS "%96, %97, p, 1, 1"
#define OCTET_SCALE_D "%98"
#endif
#if OCTET_LEFT_E5M2
#define OCTET_LEFT_TYPE "e5m2"
#else
#define OCTET_LEFT_TYPE "e4m3"
#endif
#if OCTET_RIGHT_E5M2
#define OCTET_RIGHT_TYPE "e5m2"
#else
#define OCTET_RIGHT_TYPE "e4m3"
#endif
#define OCTET_TEXT(x) #x
#define OCTET_STRING(x) OCTET_TEXT(x)

// 64 x OCTET_COLS x 32 (PTX 9.7.15.5.2). With accumulate 0 the registers' old values do not matter.
OCTET_DEVICE void wgmma(float (&d)[OCTET_COLS / 2], unsigned long long left, unsigned long long right, int accumulate) {
    asm volatile("{\n\t.reg .pred p;\n\tsetp.ne.b32 p, " OCTET_SCALE_D ", 0;\n\t"
                 "wgmma.mma_async.sync.aligned.m64n" OCTET_STRING(OCTET_COLS) "k32.f32." OCTET_LEFT_TYPE "."
                 OCTET_RIGHT_TYPE " {" OCTET_REGISTERS "}, " OCTET_INPUTS ";\n\t}"
                 : OCTET_OPERANDS : "l"(left), "l"(right), "r"(accumulate));
}
#endif

// ---- The kernel ---------------------------------------------------------------------------------------------------

/** What a launch passes beside the tensor maps. The host fills it field by field; 8-byte fields first. */
struct GemmArguments {
    const int* begins;             // first token of each group, or null: one group, all tokens
    const int* ends;               // one past its last token
    const float* blockScales;      // of the operand with a scale for each 128 rows: [groups][rows / 128][K / 128]
    const float* otherBlockScales; // of right, where both have such scales
    void* d;
    const void* addend;            // or null
    const void* bias;              // or null
    long long ldd;                 // elements from a token to the next
    long long addendStride;
    long long scaleRow;            // of blockScales, in floats: to the next 128 rows, to the next group
    long long scaleGroup;
    long long otherScaleRow;
    int tokens;                    // rows of A and D
    int channels;                  // rows of B of a group, columns of D
    int depth;                     // K
    int groups;
    int band;                      // tiles of tokens walked before the next tile of channels
    int scaleStep;                 // 1: scales of each 128 of K; 0: the same for all of K
    int otherScaleStep;
    int vectorStep;                // the same for scales of each row
    int addendBf16;
    int biasBf16;
    int silu;
    int tmaStore;                  // D may be written by TMA
    int alignedOutput;             // D takes stores of 16 bytes (FP32) or 8 bytes (BF16) at multiples of 4 channels
    int keepLeft;                  // which operand stays in the second-level cache
    int keepRight;
    int reserved;
};

static constexpr int ROWS = OCTET_ROWS;
static constexpr int COLS = OCTET_COLS;
static constexpr int SLABS = ROWS / 128;        // of 64 rows, for each of the two warpgroups
static constexpr int STAGES = OCTET_STAGES;
static constexpr int DEPTH = 128;               // of K in a stage: a row of a tile is one line of the 128-byte swizzle
static constexpr int LEFT_BYTES = ROWS * DEPTH;
static constexpr int RIGHT_BYTES = COLS * DEPTH;
static constexpr int LEFT_SCALE_BYTES = OCTET_LEFT_VECTOR ? ROWS * 4 : 0;
static constexpr int RIGHT_SCALE_BYTES = OCTET_RIGHT_VECTOR ? COLS * 4 : 0;
static constexpr int STAGE_BYTES = LEFT_BYTES + RIGHT_BYTES + LEFT_SCALE_BYTES + RIGHT_SCALE_BYTES;
static constexpr int RIGHT_SCALE_SLOT = (RIGHT_SCALE_BYTES + 127) / 128 * 128;

// BF16 results of 64 columns are a line of 128 bytes; tiles that 64 does not divide have lines of 64 or 32 bytes.
static constexpr int LINE = COLS % 64 == 0 ? 64 : COLS % 32 == 0 ? 32 : 16;
static constexpr int PITCH = ROWS + 4;          // of a transposed result, in floats: keeps banks apart
static constexpr bool STAGED = OCTET_SWAPPED || OCTET_SPLIT;
static constexpr int OUT_BYTES = STAGED ? COLS * PITCH * 4 : OCTET_OUT_F32 ? 0 : ROWS * COLS * 2;

// From the start of shared memory, all tiles at multiples of 1024 (PTX 9.7.15.5.1.2: the swizzle's atoms).
static constexpr int LEFT_AT = 0;
static constexpr int RIGHT_AT = LEFT_AT + STAGES * LEFT_BYTES;
static constexpr int OUT_AT = RIGHT_AT + STAGES * RIGHT_BYTES;
static constexpr int LEFT_SCALES_AT = OUT_AT + (OUT_BYTES + 127) / 128 * 128;
static constexpr int RIGHT_SCALES_AT = LEFT_SCALES_AT + STAGES * LEFT_SCALE_BYTES;
static constexpr int BARRIERS_AT = RIGHT_SCALES_AT + STAGES * RIGHT_SCALE_SLOT;
static constexpr int SHARED_BYTES = BARRIERS_AT + STAGES * 16;

static constexpr int TOKEN_TILE = OCTET_SWAPPED ? COLS : ROWS;
static constexpr int CHANNEL_TILE = OCTET_SWAPPED ? ROWS : COLS;
// Blocks of a cluster lie next to each other along the rows that they do not share.
static constexpr bool CLUSTER_TOKENS = OCTET_CLUSTER == 2 && (OCTET_SHARE_LEFT != 0) == (OCTET_SWAPPED != 0);
static constexpr bool CLUSTER_CHANNELS = OCTET_CLUSTER == 2 && !CLUSTER_TOKENS;

static_assert(ROWS == 128 || ROWS == 256, "two warpgroups of one or two slabs");
static_assert(COLS % 16 == 0 && COLS <= 192, "two columns of 8, and 192 registers for sums and totals");
static_assert(!(OCTET_CLUSTER == 2 && OCTET_SPLIT), "a cluster shares a tile or parts of K");
static_assert(SHARED_BYTES <= 232448, "shared memory of a block on sm_90");
static_assert(OUT_AT % 1024 == 0, "alignment of the swizzle");

/** One tile, or the end. */
struct Tile {
    int token;       // first
    int tokenEnd;    // of its group
    int channel;
    int group;
};

/** Walks the tiles of a block; all its threads do, with the same results. */
struct Schedule {
    const GemmArguments& arguments;
    long long next;
    long long step;
    long long before;    // tiles of the groups before
    int group;

    static OCTET_DEVICE Schedule start(const GemmArguments& arguments) {
        int together = OCTET_SPLIT ? (int) cluster_size() : OCTET_CLUSTER;
        return {arguments, (int) block_index() / together, (int) block_count() / together, 0, 0};
    }

    OCTET_DEVICE bool take(Tile& tile) {
        int channelTiles = (arguments.channels + CHANNEL_TILE * (CLUSTER_CHANNELS ? 2 : 1) - 1)
                / (CHANNEL_TILE * (CLUSTER_CHANNELS ? 2 : 1));
        for (; group < arguments.groups; group++) {
            int begin = arguments.begins ? arguments.begins[group] : 0;
            int end = arguments.begins ? arguments.ends[group] : arguments.tokens;
            int tokenTiles = (end - begin + TOKEN_TILE * (CLUSTER_TOKENS ? 2 : 1) - 1)
                    / (TOKEN_TILE * (CLUSTER_TOKENS ? 2 : 1));
            long long count = (long long) tokenTiles * channelTiles;
            if (next < before + count) {
                // Bands of token tiles: neighbours in time share channels, and a band's tokens stay in the cache.
                int index = (int) (next - before);
                int perBand = arguments.band * channelTiles;
                int first = index / perBand * arguments.band;
                int size = tokenTiles - first < arguments.band ? tokenTiles - first : arguments.band;
                int inside = index % perBand;
                int rank = OCTET_CLUSTER == 2 ? (int) cluster_rank() : 0;
                int t = first + inside % size;
                int c = inside / size;
                tile.token = begin + (CLUSTER_TOKENS ? 2 * t + rank : t) * TOKEN_TILE;
                tile.tokenEnd = end;
                tile.channel = (CLUSTER_CHANNELS ? 2 * c + rank : c) * CHANNEL_TILE;
                tile.group = group;
                next += step;
                return true;
            }
            before += count;
        }
        return false;
    }
};

/** Where the ring of stages stands. */
struct Ring {
    int stage;
    unsigned phase;

    OCTET_DEVICE void advance() {
        if (++stage == STAGES) {
            stage = 0;
            phase ^= 1;
        }
    }
};

// This block's blocks of K.
OCTET_DEVICE void range(const GemmArguments& arguments, int& from, int& to) {
    int blocks = (arguments.depth + DEPTH - 1) / DEPTH;
    from = 0;
    to = blocks;
    if (OCTET_SPLIT) {
        int rank = (int) cluster_rank();
        int size = (int) cluster_size();
        from = (int) ((long long) blocks * rank / size);
        to = (int) ((long long) blocks * (rank + 1) / size);
    }
}

/**
 * One tile of the left operand is the box of a load, or, where the cluster shares it, one half of it is. Groups are the
 * third dimension of B; A has one.
 */
OCTET_DEVICE void load_tiles(const GemmArguments& arguments, unsigned shared, const TensorMap* left, const TensorMap* right,
        const TensorMap* leftScales, const TensorMap* rightScales) {
    unsigned full = shared + BARRIERS_AT;
    unsigned empty = full + STAGES * 8;
    unsigned long long leftPolicy = cache_policy(arguments.keepLeft != 0);
    unsigned long long rightPolicy = cache_policy(arguments.keepRight != 0);
    unsigned rank = OCTET_CLUSTER == 2 ? cluster_rank() : 0;
    int from, to;
    range(arguments, from, to);
    Ring ring = {0, 0};
    Schedule schedule = Schedule::start(arguments);
    Tile tile;
    while (schedule.take(tile)) {
        int leftRow = OCTET_SWAPPED ? tile.channel : tile.token;
        int rightRow = OCTET_SWAPPED ? tile.token : tile.channel;
        int leftGroup = OCTET_SWAPPED ? tile.group : 0;
        int rightGroup = OCTET_SWAPPED ? 0 : tile.group;
        for (int block = from; block < to; block++) {
            // Parity 1 of a fresh barrier has passed: the first round waits for nothing.
            if (OCTET_CLUSTER == 2) {
                mbarrier_wait_cluster(empty + ring.stage * 8, ring.phase ^ 1);
            } else {
                mbarrier_wait(empty + ring.stage * 8, ring.phase ^ 1);
            }
            unsigned barrier = full + ring.stage * 8;
            unsigned leftAt = shared + LEFT_AT + ring.stage * LEFT_BYTES;
            unsigned rightAt = shared + RIGHT_AT + ring.stage * RIGHT_BYTES;
            mbarrier_arrive_expect(barrier, STAGE_BYTES);
            if (OCTET_CLUSTER == 2 && OCTET_SHARE_LEFT) {
                tma_load_multicast(leftAt + rank * (LEFT_BYTES / 2), left, barrier, block * DEPTH,
                        leftRow + (int) rank * (ROWS / 2), leftGroup, 3, leftPolicy);
            } else {
                tma_load(leftAt, left, barrier, block * DEPTH, leftRow, leftGroup, leftPolicy);
            }
            if (OCTET_CLUSTER == 2 && !OCTET_SHARE_LEFT) {
                tma_load_multicast(rightAt + rank * (RIGHT_BYTES / 2), right, barrier, block * DEPTH,
                        rightRow + (int) rank * (COLS / 2), rightGroup, 3, rightPolicy);
            } else {
                tma_load(rightAt, right, barrier, block * DEPTH, rightRow, rightGroup, rightPolicy);
            }
            if (OCTET_LEFT_VECTOR) {
                tma_load(shared + LEFT_SCALES_AT + ring.stage * LEFT_SCALE_BYTES, leftScales, barrier, leftRow,
                        block * arguments.vectorStep);
            }
            if (OCTET_RIGHT_VECTOR) {
                tma_load(shared + RIGHT_SCALES_AT + ring.stage * RIGHT_SCALE_SLOT, rightScales, barrier, rightRow,
                        block * arguments.vectorStep);
            }
            ring.advance();
        }
    }
}

/**
 * The scales of one row of 128x128 blocks: each lane holds that of one of 32 blocks of K, and the next 32 are on their
 * way. So a load's latency is seen by nobody, and a block of K costs one shuffle.
 */
struct BlockScales {
    const float* base;
    int step;
    int count;
    float now;
    float ahead;

    OCTET_DEVICE void start(const float* scales, int stepAlongK, int blocks) {
        base = scales;
        step = stepAlongK;
        count = blocks;
        fetch(0);
    }

    OCTET_DEVICE void fetch(int block) {
        int at = block + (int) (thread_index() & 31);
        ahead = at < count ? load_constant(base + (long long) at * step) : 0.0f;
    }

    OCTET_DEVICE float at(int block) {
        if ((block & 31) == 0) {
            now = ahead;
            fetch(block + 32);
        }
        return shuffle(now, block & 31);
    }
};

// K-major, 128-byte swizzle: bits 0-13 the address / 16, 16-29 the leading offset (unused, 1), 32-45 the bytes between
// groups of 8 rows / 16, 62-63 the swizzle, 1 for 128 bytes (PTX 9.7.15.5.1.2.2). The next 32 of K are 2 further on.
OCTET_DEVICE unsigned long long descriptor(unsigned address) {
    return ((unsigned long long) ((1024u >> 4) | 1u << 30) << 32) | (1u << 16) | ((address & 0x3ffffu) >> 4);
}

OCTET_DEVICE void issue(float (&partial)[COLS / 2], unsigned long long left, unsigned long long right) {
#pragma unroll
    for (int i = 0; i < COLS / 2; i++) {
        pin(partial[i]);
    }
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < DEPTH / 32; k++) {
        wgmma(partial, left + 2 * k, right + 2 * k, k != 0);
    }
    wgmma_commit();
}

// Accumulator i of a thread is at row 16 warp + lane / 4 + 8 ((i / 2) % 2), column 8 (i / 4) + 2 (lane % 4) + i % 2
// (PTX 9.7.15.5.1.1, figure of D).
struct Place {
    int group;       // of the two warpgroups that multiply
    int warp;        // of the warpgroup
    int lane;

    static OCTET_DEVICE Place here() {
        int t = (int) thread_index() - 128;
        return {t >> 7, (t >> 5) & 3, t & 31};
    }

    OCTET_DEVICE int row(int slab) const {
        return group * (SLABS * 64) + slab * 64 + warp * 16 + (lane >> 2);
    }

    OCTET_DEVICE int column(int i) const {
        return (i >> 2) * 8 + (lane & 3) * 2;
    }
};

/** What the promotion of a block of K needs, read before its stage is given back. */
struct Scales {
    float left[2 * SLABS];     // rows lane / 4 and lane / 4 + 8 of each slab; the same four times where left has blocks
    float right[OCTET_RIGHT_VECTOR ? COLS / 4 : 2];
};

struct Multiplier {
    const GemmArguments& arguments;
    unsigned shared;
    Place place;
    Ring ring;
    BlockScales leftBlocks;
    BlockScales rightBlocks[2];
    int from;
    int to;

    // Asks for the first scales of a tile, so that they are there when its sums are.
    OCTET_DEVICE void prepare(const Tile& tile) {
        int leftRow = OCTET_SWAPPED ? tile.channel : tile.token;
        int rightRow = OCTET_SWAPPED ? tile.token : tile.channel;
        const float* scales = arguments.blockScales + tile.group * arguments.scaleGroup + (long long) from * arguments.scaleStep;
        if (!OCTET_LEFT_VECTOR) {
            int row = (leftRow + place.group * (SLABS * 64)) / 128;
            int last = ((OCTET_SWAPPED ? arguments.channels : arguments.tokens) - 1) / 128;
            leftBlocks.start(scales + (row < last ? row : last) * arguments.scaleRow, arguments.scaleStep, to - from);
        }
        if (!OCTET_RIGHT_VECTOR) {
            long long pitch = arguments.scaleRow;
            int step = arguments.scaleStep;
            if (!OCTET_LEFT_VECTOR) {
                scales = arguments.otherBlockScales + (long long) from * arguments.otherScaleStep;
                pitch = arguments.otherScaleRow;
                step = arguments.otherScaleStep;
            }
            int row = rightRow / 128;
            int last = ((OCTET_SWAPPED ? arguments.tokens : arguments.channels) - 1) / 128;
            row = row < last ? row : last;
            rightBlocks[0].start(scales + row * pitch, step, to - from);
            if (128 % COLS != 0) {
                rightBlocks[1].start(scales + (row < last ? row + 1 : row) * pitch, step, to - from);
            }
        }
    }

    OCTET_DEVICE Scales scales(int block) {
        Scales s;
        if (OCTET_LEFT_VECTOR) {
            unsigned at = shared + LEFT_SCALES_AT + ring.stage * LEFT_SCALE_BYTES;
#pragma unroll
            for (int slab = 0; slab < SLABS; slab++) {
                s.left[2 * slab] = load_shared(at + place.row(slab) * 4);
                s.left[2 * slab + 1] = load_shared(at + place.row(slab) * 4 + 32);
            }
        } else {
            float v = leftBlocks.at(block);
#pragma unroll
            for (int i = 0; i < 2 * SLABS; i++) {
                s.left[i] = v;
            }
        }
        if (OCTET_RIGHT_VECTOR) {
            unsigned at = shared + RIGHT_SCALES_AT + ring.stage * RIGHT_SCALE_SLOT + (place.lane & 3) * 8;
#pragma unroll
            for (int i = 0; i < COLS / 8; i++) {
                load_shared(at + i * 32, s.right[2 * i], s.right[2 * i + 1]);
            }
        } else {
            s.right[0] = rightBlocks[0].at(block);
            s.right[1] = 128 % COLS != 0 ? rightBlocks[1].at(block) : s.right[0];
        }
        return s;
    }

    // total += (sA * sB) * partial: one rounding for the scales, one for the multiply-add. Columns from FORMER on belong to
    // the second row of blocks of right.
    template <int FORMER>
    OCTET_DEVICE void promote(float (&total)[COLS / 2], float (&partial)[COLS / 2], const Scales& s, int slab) {
#pragma unroll
        for (int i = 0; i < COLS / 2; i++) {
            pin(partial[i]);
        }
        if (OCTET_RIGHT_VECTOR) {
#pragma unroll
            for (int i = 0; i < COLS / 2; i++) {
                float scale = s.left[2 * slab + ((i >> 1) & 1)] * s.right[(i >> 2) * 2 + (i & 1)];
                total[i] = __builtin_fmaf(scale, partial[i], total[i]);
            }
        } else {
            float former0 = s.left[2 * slab] * s.right[0];
            float former1 = s.left[2 * slab + 1] * s.right[0];
            float latter0 = s.left[2 * slab] * s.right[1];
            float latter1 = s.left[2 * slab + 1] * s.right[1];
#pragma unroll
            for (int i = 0; i < COLS / 2; i++) {
                bool first = (i >> 2) * 8 < FORMER;
                float scale = (i >> 1) & 1 ? (first ? former1 : latter1) : (first ? former0 : latter0);
                total[i] = __builtin_fmaf(scale, partial[i], total[i]);
            }
        }
    }

    OCTET_DEVICE unsigned long long left(int slab) const {
        return descriptor(shared + LEFT_AT + ring.stage * LEFT_BYTES + (place.group * SLABS + slab) * (64 * DEPTH));
    }

    OCTET_DEVICE unsigned long long right() const {
        return descriptor(shared + RIGHT_AT + ring.stage * RIGHT_BYTES);
    }

    OCTET_DEVICE void wait_full() {
        mbarrier_wait(shared + BARRIERS_AT + ring.stage * 8, ring.phase);
    }

    // One arrival of each warp, at every block whose loads fill this stage.
    OCTET_DEVICE void give_back(int stage) {
        unsigned barrier = shared + BARRIERS_AT + STAGES * 8 + stage * 8;
        if (OCTET_CLUSTER == 2) {
            if (place.lane < 2) {
                mbarrier_arrive_peer(barrier, place.lane);
            }
        } else if (place.lane == 0) {
            mbarrier_arrive(barrier);
        }
    }

    template <int FORMER>
    OCTET_DEVICE void multiply(float (&total)[SLABS][COLS / 2]) {
#if OCTET_OVERLAP
        static_assert(SLABS == 1, "registers");
        float partial[2][COLS / 2];
        int blocks = to - from;
        if (blocks == 0) {
            return;
        }
        wait_full();
        Scales s0 = scales(0);
        int stage0 = ring.stage;
        issue(partial[0], left(0), right());
        ring.advance();
        int block = 1;
        for (; block + 1 < blocks; block += 2) {
            wait_full();
            Scales s1 = scales(block);
            int stage1 = ring.stage;
            issue(partial[1], left(0), right());
            ring.advance();
            wgmma_wait<1>();
            give_back(stage0);
            promote<FORMER>(total[0], partial[0], s0, 0);
            wait_full();
            s0 = scales(block + 1);
            stage0 = ring.stage;
            issue(partial[0], left(0), right());
            ring.advance();
            wgmma_wait<1>();
            give_back(stage1);
            promote<FORMER>(total[0], partial[1], s1, 0);
        }
        if (block < blocks) {
            wait_full();
            Scales s1 = scales(block);
            int stage1 = ring.stage;
            issue(partial[1], left(0), right());
            ring.advance();
            wgmma_wait<1>();
            give_back(stage0);
            promote<FORMER>(total[0], partial[0], s0, 0);
            wgmma_wait<0>();
            give_back(stage1);
            promote<FORMER>(total[0], partial[1], s1, 0);
        } else {
            wgmma_wait<0>();
            give_back(stage0);
            promote<FORMER>(total[0], partial[0], s0, 0);
        }
#else
        float partial[COLS / 2];
        for (int block = 0; block < to - from; block++) {
            wait_full();
            Scales s = scales(block);
#pragma unroll
            for (int slab = 0; slab < SLABS; slab++) {
                issue(partial, left(slab), right());
                wgmma_wait<0>();
                if (slab == SLABS - 1) {
                    give_back(ring.stage);
                }
                promote<FORMER>(total[slab], partial, s, slab);
            }
            ring.advance();
        }
#endif
    }

    // Where a tile begins inside a block of 128 columns decides which columns have the second scale. As constants they
    // cost nothing, so there is a loop for each place where a tile can begin.
    template <int BEGIN>
    OCTET_DEVICE void dispatch(int begin, float (&total)[SLABS][COLS / 2]) {
        constexpr int GRID = 128 % COLS == 0 ? 128 : COLS % 64 == 0 ? 64 : COLS % 32 == 0 ? 32 : 16;
        if constexpr (BEGIN + GRID < 128) {
            if (begin != BEGIN) {
                dispatch<BEGIN + GRID>(begin, total);
                return;
            }
        }
        multiply<128 - BEGIN>(total);
    }

    OCTET_DEVICE void sums(const Tile& tile, float (&total)[SLABS][COLS / 2]) {
#pragma unroll
        for (int slab = 0; slab < SLABS; slab++) {
#pragma unroll
            for (int i = 0; i < COLS / 2; i++) {
                total[slab][i] = 0.0f;
            }
        }
        if (OCTET_RIGHT_VECTOR || 128 % COLS == 0) {
            multiply<128>(total);
        } else {
            dispatch<0>(tile.channel & 127, total);
        }
    }
};

OCTET_DEVICE float bf16_at(const void* p, long long index) {
    return bits_to_float((unsigned) ((const unsigned short*) p)[index] << 16);
}

// activation(sum + addend + bias), in FP32.
OCTET_DEVICE float finish(const GemmArguments& arguments, float x, int token, int channel) {
    if (arguments.addend) {
        long long at = token * arguments.addendStride + channel;
        x += arguments.addendBf16 ? bf16_at(arguments.addend, at) : ((const float*) arguments.addend)[at];
    }
    if (arguments.bias) {
        x += arguments.biasBf16 ? bf16_at(arguments.bias, channel) : ((const float*) arguments.bias)[channel];
    }
    return arguments.silu ? x / (1.0f + expf(-x)) : x;
}

OCTET_DEVICE bool has_epilogue(const GemmArguments& arguments) {
    return arguments.addend || arguments.bias || arguments.silu;
}

OCTET_DEVICE void store_one(const GemmArguments& arguments, long long at, float x) {
    if (OCTET_OUT_F32) {
        ((float*) arguments.d)[at] = x;
    } else {
        ((unsigned short*) arguments.d)[at] = (unsigned short) pack_bf16(x, 0.0f);
    }
}

/** Left is A: results leave as they lie in registers, through shared memory and TMA or, where that can't be, directly. */
OCTET_DEVICE void store_upright(const GemmArguments& arguments, unsigned shared, const TensorMap* d, const Place& place,
        const Tile& tile, float (&total)[SLABS][COLS / 2]) {
    if (has_epilogue(arguments)) {
#pragma unroll
        for (int slab = 0; slab < SLABS; slab++) {
            int token = tile.token + place.row(slab);
#pragma unroll
            for (int i = 0; i < COLS / 2; i++) {
                int t = token + ((i >> 1) & 1) * 8;
                int c = tile.channel + place.column(i) + (i & 1);
                if (t < tile.tokenEnd && c < arguments.channels) {
                    total[slab][i] = finish(arguments, total[slab][i], t, c);
                }
            }
        }
    }
    // TMA cuts off at the ends of D, but not where the next group's tokens begin.
    bool whole = tile.token + ROWS <= tile.tokenEnd || tile.tokenEnd == arguments.tokens;
    if (!OCTET_OUT_F32 && arguments.tmaStore && whole) {
        int thread = (int) thread_index() & 127;
        unsigned own = shared + OUT_AT + place.group * (SLABS * 64 * COLS * 2);
        if (thread == 0) {
            tma_store_wait_read();
        }
        named_barrier(1 + place.group, 128);
        // Lane 8 i + r: row r of rows 0-7 (i even) or 8-15 (i odd), columns 0-7 (i < 2) or 8-15.
        int row = place.warp * 16 + (place.lane & 15);
#pragma unroll
        for (int slab = 0; slab < SLABS; slab++) {
#pragma unroll
            for (int j = 0; j < COLS / 16; j++) {
                // 16-byte chunks of a line are exchanged by bits 7 and up of the address (PTX 5.5.7, swizzling modes).
                int column = j * 16 + (place.lane >> 4) * 8;
                unsigned line = (slab * (COLS / LINE) + column / LINE) * (64 * LINE * 2) + row * (LINE * 2);
                unsigned chunk = (column % LINE / 8) ^ (line >> 7 & (LINE / 8 - 1));
                float* t = total[slab] + j * 8;
                store_matrices(own + line + chunk * 16, pack_bf16(t[0], t[1]), pack_bf16(t[2], t[3]),
                        pack_bf16(t[4], t[5]), pack_bf16(t[6], t[7]));
            }
        }
        fence_async();
        named_barrier(1 + place.group, 128);
        if (thread == 0) {
            for (int slab = 0; slab < SLABS; slab++) {
                int token = tile.token + (place.group * SLABS + slab) * 64;
                for (int line = 0; line < COLS / LINE && token < tile.tokenEnd; line++) {
                    if (tile.channel + line * LINE < arguments.channels) {
                        tma_store(d, own + (slab * (COLS / LINE) + line) * (64 * LINE * 2), tile.channel + line * LINE,
                                token);
                    }
                }
            }
            tma_store_commit();
        }
        return;
    }
#pragma unroll
    for (int slab = 0; slab < SLABS; slab++) {
#pragma unroll
        for (int i = 0; i < COLS / 2; i += 2) {
            int t = tile.token + place.row(slab) + ((i >> 1) & 1) * 8;
            int c = tile.channel + place.column(i);
            if (t >= tile.tokenEnd || c >= arguments.channels) {
                continue;
            }
            long long at = t * arguments.ldd + c;
            if (arguments.alignedOutput && c + 1 < arguments.channels) {
                if (OCTET_OUT_F32) {
                    *(float2*) ((float*) arguments.d + at) = make_float2(total[slab][i], total[slab][i + 1]);
                } else {
                    *(unsigned*) ((unsigned short*) arguments.d + at) = pack_bf16(total[slab][i], total[slab][i + 1]);
                }
            } else {
                store_one(arguments, at, total[slab][i]);
                if (c + 1 < arguments.channels) {
                    store_one(arguments, at + 1, total[slab][i + 1]);
                }
            }
        }
    }
}

/**
 * Left is B, or K is split: results are transposed in shared memory, [token][channel], each thread then adds up the parts of
 * four channels of a token, in the order of their K, and stores them.
 */
OCTET_DEVICE void store_staged(const GemmArguments& arguments, unsigned shared, const Place& place, const Tile& tile,
        float (&total)[SLABS][COLS / 2]) {
    static_assert(!OCTET_SPLIT || OCTET_SWAPPED, "only the transposed tile is added up");
    unsigned out = shared + OUT_AT;
    named_barrier(3, 256); // all have read the tile before
#pragma unroll
    for (int slab = 0; slab < SLABS; slab++) {
#pragma unroll
        for (int i = 0; i < COLS / 2; i++) {
            int row = place.row(slab) + ((i >> 1) & 1) * 8;
            int column = place.column(i) + (i & 1);
            store_shared(out + (column * PITCH + row) * 4, total[slab][i]);
        }
    }
    int rank = 0;
    int size = 1;
    if (OCTET_SPLIT) {
        rank = (int) cluster_rank();
        size = (int) cluster_size();
        cluster_barrier();
    } else {
        named_barrier(3, 256);
    }
    constexpr int QUADS = ROWS / 4;
    int from = COLS * rank / size * QUADS;
    int to = COLS * (rank + 1) / size * QUADS;
    for (int i = from + (int) thread_index() - 128; i < to; i += 256) {
        int token = tile.token + i / QUADS;
        int channel = tile.channel + i % QUADS * 4;
        if (token >= tile.tokenEnd || channel >= arguments.channels) {
            continue;
        }
        unsigned at = out + (i / QUADS * PITCH + i % QUADS * 4) * 4;
        float x[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        for (int part = 0; part < size; part++) {
            float v[4];
            load_cluster(OCTET_SPLIT ? peer_address(at, part) : at, v);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                x[j] += v[j];
            }
        }
        int count = arguments.channels - channel < 4 ? arguments.channels - channel : 4;
        if (has_epilogue(arguments)) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                if (j < count) {
                    x[j] = finish(arguments, x[j], token, channel + j);
                }
            }
        }
        long long target = token * arguments.ldd + channel;
        if (count == 4 && arguments.alignedOutput) {
            if (OCTET_OUT_F32) {
                *(float4*) ((float*) arguments.d + target) = make_float4(x[0], x[1], x[2], x[3]);
            } else {
                *(uint2*) ((unsigned short*) arguments.d + target) = make_uint2(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]));
            }
        } else {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                if (j < count) {
                    store_one(arguments, target + j, x[j]);
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(384, 1) OCTET_KERNEL(const __grid_constant__ TensorMap left,
        const __grid_constant__ TensorMap right, const __grid_constant__ TensorMap leftScales,
        const __grid_constant__ TensorMap rightScales, const __grid_constant__ TensorMap d,
        const __grid_constant__ GemmArguments arguments) {
    unsigned shared = dynamic_shared();
    if (thread_index() == 0) {
        tma_prefetch_map(&left);
        tma_prefetch_map(&right);
        for (int i = 0; i < STAGES; i++) {
            mbarrier_init(shared + BARRIERS_AT + i * 8, 1);
            mbarrier_init(shared + BARRIERS_AT + (STAGES + i) * 8, 8 * OCTET_CLUSTER);
        }
        fence_mbarrier_init();
    }
    if (OCTET_CLUSTER == 2) {
        cluster_barrier();
    } else {
        block_barrier();
    }
    wait_for_previous_kernel();
    if (thread_index() < 128) {
        fewer_registers<40>();
        if (thread_index() == 0) {
            load_tiles(arguments, shared, &left, &right, &leftScales, &rightScales);
        }
        start_next_kernel();
        if (OCTET_SPLIT) {
            cluster_barrier(); // the one before the parts are added up
        }
    } else {
        more_registers<232>();
        Multiplier multiplier = {arguments, shared, Place::here(), {0, 0}};
        range(arguments, multiplier.from, multiplier.to);
        Schedule schedule = Schedule::start(arguments);
        Tile tile;
        bool more = schedule.take(tile);
        if (more) {
            multiplier.prepare(tile);
        }
        while (more) {
            float total[SLABS][COLS / 2];
            multiplier.sums(tile, total);
            Tile done = tile;
            more = schedule.take(tile);
            if (more) {
                multiplier.prepare(tile);
            }
            if (STAGED) {
                store_staged(arguments, shared, multiplier.place, done, total);
            } else {
                store_upright(arguments, shared, &d, multiplier.place, done, total);
            }
        }
        if (!STAGED && !OCTET_OUT_F32 && (thread_index() & 127) == 0) {
            tma_store_wait();
        }
    }
    // No block may end while another one of its cluster can still reach its memory or barriers.
    if (OCTET_CLUSTER == 2 || OCTET_SPLIT) {
        cluster_barrier();
    }
}
