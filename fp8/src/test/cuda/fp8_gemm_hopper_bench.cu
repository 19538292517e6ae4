// What fp8_gemm_hopper_bench.cpp runs beside the GEMM: fills operands, and compares with sums in double, one thread an
// element.

extern "C" __global__ void fill_codes(unsigned char* p, long long n, unsigned seed) {
    for (long long i = blockIdx.x * (long long) blockDim.x + threadIdx.x; i < n; i += (long long) gridDim.x * blockDim.x) {
        unsigned h = (unsigned) i * 2654435761u ^ (unsigned) (i >> 32) * 40503u ^ seed * 2246822519u;
        float x = 0.0f;
        for (int j = 0; j < 4; j++) {
            h ^= h >> 15; h *= 2246822519u; h ^= h >> 13;
            x += (float) (h & 0xffff) / 65536.0f - 0.5f;
        }
        unsigned short code;
        asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(code) : "f"(0.0f), "f"(x * 200.0f));
        p[i] = (unsigned char) code;
    }
}
extern "C" __global__ void fill_scales(float* p, long long n, unsigned seed) {
    for (long long i = blockIdx.x * (long long) blockDim.x + threadIdx.x; i < n; i += (long long) gridDim.x * blockDim.x) {
        unsigned h = (unsigned) i * 2654435761u ^ seed;
        h ^= h >> 15; h *= 2246822519u; h ^= h >> 13;
        p[i] = 0.001f + (float) (h & 0xffff) / 65536.0f * 0.01f;
    }
}
__device__ double value(unsigned char c) {
    int e = c >> 3 & 15, m = c & 7;
    double v = e ? ldexp(8.0 + m, e - 10) : ldexp((double) m, -9);
    return c & 128 ? -v : v;
}
// errors: [0] sum of xy, [1] sum of xx + yy, [2] the largest |error| / sum of magnitudes, [3] elements that are not finite.
extern "C" __global__ void compare(const unsigned char* a, const float* sa, long long pitchA, const unsigned char* b,
        const float* sb, int m, int n, int k, const void* d, int bf16, int first, int step, double* errors) {
    int t = first + blockIdx.y * step;
    int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (t >= m || c >= n) return;
    int blocks = (k + 127) / 128;
    double sum = 0, size = 0;
    for (int block = 0; block < blocks; block++) {
        double part = 0, magnitude = 0;
        for (int x = block * 128; x < k && x < block * 128 + 128; x++) {
            double p = value(a[(long long) t * k + x]) * value(b[(long long) c * k + x]);
            part += p;
            magnitude += fabs(p);
        }
        double s = (double) sa[block * pitchA + t] * sb[(c / 128) * blocks + block];
        sum += s * part;
        size += s * magnitude;
    }
    long long at = (long long) t * n + c;
    double got = bf16 ? (double) __uint_as_float((unsigned) ((const unsigned short*) d)[at] << 16) : (double) ((const float*) d)[at];
    if (!isfinite(got)) { atomicAdd(errors + 3, 1.0); return; }
    atomicAdd(errors, got * sum);
    atomicAdd(errors + 1, got * got + sum * sum);
    double e = fabs(got - sum) / (size + 1e-30);
    atomicMax((unsigned long long*) (errors + 2), __double_as_longlong(e));
}
extern "C" __global__ void not_finite(const void* d, long long n, int bf16, double* errors) {
    for (long long i = blockIdx.x * (long long) blockDim.x + threadIdx.x; i < n; i += (long long) gridDim.x * blockDim.x) {
        float x = bf16 ? __uint_as_float((unsigned) ((const unsigned short*) d)[i] << 16) : ((const float*) d)[i];
        if (!isfinite(x)) atomicAdd(errors + 3, 1.0);
    }
}
