// The instructions of Hopper (sm_90a) that fp8_gemm_hopper.cu uses, each a small function. In a host build an emulation
// stands in for this file. "PTX" is the PTX ISA, version 9.

/** What cuTensorMapEncodeTiled fills in. */
struct alignas(64) TensorMap {
    char bytes[128];
};

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
    unsigned address = (unsigned) __cvta_generic_to_shared(memory);
    if (address % 1024 != 0) {
        __trap(); // the swizzle is one of addresses
    }
    return address;
}

// The same place in the shared memory of another block of the cluster (mapa).
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

OCTET_DEVICE unsigned load_constant_byte(const void* p) {
    return __ldg((const unsigned char*) p);
}

OCTET_DEVICE unsigned shuffle_bits(unsigned v, int lane) {
    return __shfl_sync(0xffffffffu, v, lane);
}

OCTET_DEVICE float shuffle(float v, int lane) {
    return __shfl_sync(0xffffffffu, v, lane);
}

// The value of lane 0, which all lanes have: so that the compiler knows, and computes with it once for the warp.
OCTET_DEVICE int uniform(int v) {
    return __shfl_sync(0xffffffffu, v, 0);
}

// After a branch that lanes took differently, before what all lanes of a warp must do together.
OCTET_DEVICE void warp_barrier() {
    __syncwarp();
}

// Two floats rounded to nearest even, the first in the low half.
OCTET_DEVICE unsigned pack_bf16(float low, float high) {
    unsigned r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

OCTET_DEVICE unsigned float_to_bits(float v) {
    return __float_as_uint(v);
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

// All threads of all blocks of the cluster; release and acquire (barrier.cluster).
OCTET_DEVICE void cluster_barrier() {
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" : : : "memory");
}

// mbarrier: a phase ends when all arrivals and all bytes announced are there. A wait for a parity
// returns once the phase of that parity has ended; before the first phase ends, the one "before" it has parity 1.

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

// Orders ordinary writes to shared memory before what TMA reads there after the next barrier (PTX, membar and fence).
OCTET_DEVICE void fence_async() {
    asm volatile("fence.proxy.async.shared::cta;" : : : "memory");
}

// TMA (cp.async.bulk.tensor): coordinates count elements, the contiguous dimension first. Outside of the tensor it reads zeros,
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
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%3, %4}], [%2];"
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

// Four 8x8 matrices of 16-bit elements; lane 8 i + r gives the address of row r of matrix i (stmatrix).
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

// The accumulators of a wgmma in pieces of 8, and what comes after them: the two descriptors and the flag.
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
#define OCTET_R16 OCTET_W0
#define OCTET_O16 OCTET_F8(0)
#define OCTET_I16 "%8, %9, p, 1, 1"
#define OCTET_S16 "%10"
#define OCTET_R32 OCTET_R16 ", " OCTET_W1
#define OCTET_O32 OCTET_O16, OCTET_F8(8)
#define OCTET_I32 "%16, %17, p, 1, 1"
#define OCTET_S32 "%18"
#define OCTET_R48 OCTET_R32 ", " OCTET_W2
#define OCTET_O48 OCTET_O32, OCTET_F8(16)
#define OCTET_I48 "%24, %25, p, 1, 1"
#define OCTET_S48 "%26"
#define OCTET_R64 OCTET_R48 ", " OCTET_W3
#define OCTET_O64 OCTET_O48, OCTET_F8(24)
#define OCTET_I64 "%32, %33, p, 1, 1"
#define OCTET_S64 "%34"
#define OCTET_R80 OCTET_R64 ", " OCTET_W4
#define OCTET_O80 OCTET_O64, OCTET_F8(32)
#define OCTET_I80 "%40, %41, p, 1, 1"
#define OCTET_S80 "%42"
#define OCTET_R96 OCTET_R80 ", " OCTET_W5
#define OCTET_O96 OCTET_O80, OCTET_F8(40)
#define OCTET_I96 "%48, %49, p, 1, 1"
#define OCTET_S96 "%50"
#define OCTET_R112 OCTET_R96 ", " OCTET_W6
#define OCTET_O112 OCTET_O96, OCTET_F8(48)
#define OCTET_I112 "%56, %57, p, 1, 1"
#define OCTET_S112 "%58"
#define OCTET_R128 OCTET_R112 ", " OCTET_W7
#define OCTET_O128 OCTET_O112, OCTET_F8(56)
#define OCTET_I128 "%64, %65, p, 1, 1"
#define OCTET_S128 "%66"
#define OCTET_R144 OCTET_R128 ", " OCTET_W8
#define OCTET_O144 OCTET_O128, OCTET_F8(64)
#define OCTET_I144 "%72, %73, p, 1, 1"
#define OCTET_S144 "%74"
#define OCTET_R160 OCTET_R144 ", " OCTET_W9
#define OCTET_O160 OCTET_O144, OCTET_F8(72)
#define OCTET_I160 "%80, %81, p, 1, 1"
#define OCTET_S160 "%82"
#define OCTET_R176 OCTET_R160 ", " OCTET_W10
#define OCTET_O176 OCTET_O160, OCTET_F8(80)
#define OCTET_I176 "%88, %89, p, 1, 1"
#define OCTET_S176 "%90"
#define OCTET_R192 OCTET_R176 ", " OCTET_W11
#define OCTET_O192 OCTET_O176, OCTET_F8(88)
#define OCTET_I192 "%96, %97, p, 1, 1"
#define OCTET_S192 "%98"
#define OCTET_JOIN2(x, y) x##y
#define OCTET_JOIN(x, y) OCTET_JOIN2(x, y)
#define OCTET_REGISTERS OCTET_JOIN(OCTET_R, OCTET_COLS)
#define OCTET_OPERANDS OCTET_JOIN(OCTET_O, OCTET_COLS)
#define OCTET_INPUTS OCTET_JOIN(OCTET_I, OCTET_COLS)
#define OCTET_SCALE_D OCTET_JOIN(OCTET_S, OCTET_COLS)

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
