// Kernels for the tests on a GPU: each shows one thing that a launch can do.

struct alignas(64) TensorMap {
    char bytes[128];
};

// Every kind of parameter: out[i] = i * factor + bias + big % 1000, and the map's bytes behind them.
extern "C" __global__ void everyParameter(float* out, int n, float factor, long long big, short bias,
                                          const __grid_constant__ TensorMap map) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        out[i] = i * factor + bias + (float)(big % 1000);
    } else if (i < n + 128) {
        out[i] = (float)map.bytes[i - n];
    }
}

// Adds one, so that an order of launches shows.
extern "C" __global__ void addOne(float* values, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        values[i] += 1.0f;
    }
}

extern "C" __global__ void times(float* values, int n, float factor) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        values[i] *= factor;
    }
}

// Reverses a row through dynamic shared memory.
extern "C" __global__ void reverse(float* values, int n) {
    extern __shared__ float row[];
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        row[i] = values[i];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        values[i] = row[n - 1 - i];
    }
}

// Writes where nobody may.
extern "C" __global__ void outOfBounds(float* values) {
    values[1ll << 40] = 1.0f;
}

extern "C" {
__device__ float table[3] = {7, 8, 9};
}

extern "C" __global__ void readTable(float* out) { out[threadIdx.x] = table[threadIdx.x]; }

#if __CUDA_ARCH__ >= 900
// Each block writes its rank in the cluster and the number of blocks in it.
extern "C" __global__ void clusterRank(int* out) {
    unsigned rank, size;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
    if (threadIdx.x == 0) {
        out[2 * blockIdx.x] = (int)rank;
        out[2 * blockIdx.x + 1] = (int)size;
    }
}

// As addOne, but begins early and waits for the launch in front before it reads.
extern "C" __global__ void addOneDependent(float* values, int n) {
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    asm volatile("griddepcontrol.wait;" ::: "memory");
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        values[i] += 1.0f;
    }
}

// Copies the box at (x, y) of a matrix of bytes into `out` as it lies in shared memory.
extern "C" __global__ void copyBox(const __grid_constant__ TensorMap map, unsigned char* out, int x, int y, int bytes) {
    __shared__ alignas(1024) unsigned char box[16384];
    __shared__ alignas(8) unsigned long long barrier;
    const unsigned bar = (unsigned)__cvta_generic_to_shared(&barrier);
    const unsigned to = (unsigned)__cvta_generic_to_shared(box);
    if (threadIdx.x == 0) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(bar) : "memory");
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
        asm volatile(
            "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
            ::"r"(to), "l"(&map), "r"(x), "r"(y), "r"(bar)
            : "memory");
    }
    __syncthreads();
    unsigned done = 0;
    while (!done) {
        asm volatile(
            "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], 0;\nselp.u32 %0, 1, 0, p;\n}"
            : "=r"(done)
            : "r"(bar)
            : "memory");
    }
    for (int i = threadIdx.x; i < bytes; i += blockDim.x) {
        out[i] = box[i];
    }
}
#endif
