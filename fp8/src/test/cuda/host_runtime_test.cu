// Kernels for the test of the host build: one that is right, and one mistake for each other mode.
extern __shared__ __align__(1024) unsigned char octet_shared[];

struct Parameters {
    float* y;
    int mode;
    int unused;
};

extern "C" __global__ void __launch_bounds__(256) host_runtime(const Parameters p) {
    __shared__ float parts[8];
    float* turned = reinterpret_cast<float*>(octet_shared);
    int t = threadIdx.x;
    if (p.mode == 1 && t == 77) {
        return;
    }
    if (p.mode == 4 && t == 41) {
        return;
    }
    if (p.mode == 7 && t == 5) {
        __trap();
    }
    float sum = float(t);
    for (int lanes = 16; lanes > 0; lanes >>= 1) {
        if (p.mode != 1) {
            sum += __shfl_xor_sync(~0u, sum, lanes);
        }
    }
    if (p.mode == 3) {
        if (t % 32 < 16) {
            sum = __shfl_sync(0xFFFFu, sum, 0);
        } else {
            __syncwarp();
        }
    }
    if (p.mode == 6 && t % 32 < 8) {
        sum = __shfl_sync(0xFFu, sum, 20);
    }
    if (t % 32 == 0) {
        parts[t / 32] = sum;
    }
#ifdef OCTET_HOST
    if (p.mode == 2 && t >= 128) {
        octet_host::sync(3);
    }
    if (p.mode == 8) {
        octet_host::sync(2, t < 128 ? 256 : 64);
    }
#endif
    if (p.mode != 9) {
        __syncthreads();
    }
    sum = 0;
    for (int i = 0; i < 8; i++) {
        sum += parts[i];
    }
    float value = 0;
    for (unsigned round = 0; round <= blockIdx.x; round++) {
        turned[t] = float(t);
        __syncthreads();
        value += turned[255 - t];
        __syncthreads();
    }
    if (p.mode == 5 && t == 0) {
        turned[256] = 1;
    }
    p.y[blockIdx.x * blockDim.x + t] = sum + value;
}
