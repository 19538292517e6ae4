/* A stand-in for the driver's library, compiled against NVIDIA's own cuda.h, so that every call from Java is checked
 * against the header's types and structures: a field at another place shows as another number in the log. Device memory
 * is host memory; nothing runs. The log has one line for each call that takes something;
 * standin_take_log empties it. */
#include <cuda.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef cuEventElapsedTime /* the plain one is there in every driver */

static char log_text[1 << 16];
static size_t log_used;
static char failing[64];
static int failing_status;
static CUcontext current;

static CUresult call(const char *name, const char *format, ...) {
    va_list args;
    if (log_used > sizeof log_text - 2048) return CUDA_SUCCESS; /* nobody reads it */
    va_start(args, format);
    log_used += (size_t)snprintf(log_text + log_used, sizeof log_text - log_used, "%s", name);
    log_used += (size_t)vsnprintf(log_text + log_used, sizeof log_text - log_used, format, args);
    log_used += (size_t)snprintf(log_text + log_used, sizeof log_text - log_used, "\n");
    va_end(args);
    if (strcmp(name, failing) == 0) {
        failing[0] = 0;
        return (CUresult)failing_status;
    }
    return CUDA_SUCCESS;
}

int standin_take_log(char *to, size_t size) {
    int n = snprintf(to, size, "%s", log_text);
    log_used = 0;
    log_text[0] = 0;
    return n;
}

int standin_fail(const char *name, int status) {
    snprintf(failing, sizeof failing, "%s", name);
    failing_status = status;
    return 0;
}

/* ------------------------------------------------------------------------------------------- devices, contexts */

CUresult cuInit(unsigned flags) { return call("cuInit", " %u", flags); }

CUresult cuDriverGetVersion(int *version) { *version = 13000; return CUDA_SUCCESS; }

CUresult cuGetErrorName(CUresult e, const char **name) {
    *name = e == CUDA_ERROR_INVALID_VALUE ? "CUDA_ERROR_INVALID_VALUE"
          : e == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
          : e == CUDA_ERROR_ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS" : NULL;
    return *name ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult e, const char **text) {
    *text = e == CUDA_ERROR_ILLEGAL_ADDRESS ? "an illegal memory access was encountered" : "invalid argument";
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count) { *count = 2; return CUDA_SUCCESS; }

CUresult cuDeviceGet(CUdevice *device, int ordinal) { *device = 40 + ordinal; return CUDA_SUCCESS; }

CUresult cuDeviceGetName(char *name, int size, CUdevice device) {
    snprintf(name, (size_t)size, "Stand-in %d of %d bytes", device, size);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    switch (attribute) {
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = 1024; break;
        case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: *value = 1980000; break;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 132; break;
        case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: *value = 3201000; break;
        case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: *value = 6144; break;
        case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *value = 60 << 20; break;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: *value = 2048; break;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = 9; break;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = device - 40; break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = 233472; break;
        case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: *value = 65536; break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = 232448; break;
        default: return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device) {
    *bytes = ((size_t)141 << 30) + (size_t)device;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    *context = (CUcontext)(size_t)(0xC000 + device);
    return call("cuDevicePrimaryCtxRetain", " %d", device);
}

CUresult cuCtxSetCurrent(CUcontext context) { current = context; return CUDA_SUCCESS; }

CUresult cuCtxSynchronize(void) { return call("cuCtxSynchronize", " in %p", (void *)current); }

/* ------------------------------------------------------------------------------------------- memory */

CUresult cuMemGetInfo(size_t *available, size_t *total) {
    *available = (size_t)5 << 33;
    *total = (size_t)7 << 33;
    return CUDA_SUCCESS;
}

CUresult cuMemAlloc(CUdeviceptr *address, size_t bytes) {
    CUresult e = call("cuMemAlloc", " %zu", bytes);
    if (e == CUDA_SUCCESS) *address = (CUdeviceptr)(size_t)aligned_alloc(256, (bytes + 255) / 256 * 256);
    return e;
}

CUresult cuMemFree(CUdeviceptr address) { free((void *)(size_t)address); return call("cuMemFree", ""); }

CUresult cuMemHostAlloc(void **address, size_t bytes, unsigned flags) {
    *address = malloc(bytes);
    return call("cuMemHostAlloc", " %zu flags %u", bytes, flags);
}

CUresult cuMemFreeHost(void *address) { free(address); return call("cuMemFreeHost", ""); }

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
    memcpy((void *)(size_t)to, from, bytes);
    return call("cuMemcpyHtoDAsync", " %zu on %p", bytes, (void *)stream);
}

CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
    memcpy(to, (void *)(size_t)from, bytes);
    return call("cuMemcpyDtoHAsync", " %zu on %p", bytes, (void *)stream);
}

CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    memcpy((void *)(size_t)to, (void *)(size_t)from, bytes);
    return call("cuMemcpyDtoDAsync", " %zu on %p", bytes, (void *)stream);
}

CUresult cuMemsetD8Async(CUdeviceptr address, unsigned char value, size_t bytes, CUstream stream) {
    memset((void *)(size_t)address, value, bytes);
    return call("cuMemsetD8Async", " %u times %zu on %p", value, bytes, (void *)stream);
}

/* ------------------------------------------------------------------------------------------- streams, events */

static CUresult made(void *out, const char *name, unsigned flags) {
    static size_t next = 0x50000000000; /* above 32 bits: a handle that is cut off shows */
    *(size_t *)out = next += 0x10;
    return call(name, " flags %u", flags);
}

CUresult cuStreamCreate(CUstream *stream, unsigned flags) { return made(stream, "cuStreamCreate", flags); }

CUresult cuStreamDestroy(CUstream stream) { return call("cuStreamDestroy", " %p", (void *)stream); }

CUresult cuStreamSynchronize(CUstream stream) { return call("cuStreamSynchronize", " %p", (void *)stream); }

CUresult cuStreamQuery(CUstream stream) { return call("cuStreamQuery", " %p", (void *)stream); }

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
    return call("cuStreamWaitEvent", " %p for %p flags %u", (void *)stream, (void *)event, flags);
}

CUresult cuEventCreate(CUevent *event, unsigned flags) { return made(event, "cuEventCreate", flags); }

CUresult cuEventDestroy(CUevent event) { return call("cuEventDestroy", " %p", (void *)event); }

CUresult cuEventRecord(CUevent event, CUstream stream) {
    return call("cuEventRecord", " %p on %p", (void *)event, (void *)stream);
}

CUresult cuEventSynchronize(CUevent event) { return call("cuEventSynchronize", " %p", (void *)event); }

CUresult cuEventQuery(CUevent event) { return call("cuEventQuery", " %p", (void *)event); }

CUresult cuEventElapsedTime(float *millis, CUevent start, CUevent end) {
    *millis = 2.25f;
    return call("cuEventElapsedTime", " from %p to %p", (void *)start, (void *)end);
}

/* What JavaCPP's presets call: they are compiled against a header that puts it in the plain one's place. */
CUresult cuEventElapsedTime_v2(float *millis, CUevent start, CUevent end) {
    return cuEventElapsedTime(millis, start, end);
}

/* ------------------------------------------------------------------------------------------- modules, kernels */

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    *module = (CUmodule)(size_t)0x60000000100;
    return call("cuModuleLoadData", " %.7s", (const char *)image);
}

CUresult cuModuleUnload(CUmodule module) { return call("cuModuleUnload", " %p", (void *)module); }

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    *function = (CUfunction)(size_t)0x60000000200;
    return call("cuModuleGetFunction", " %s of %p", name, (void *)module);
}

CUresult cuModuleGetGlobal(CUdeviceptr *address, size_t *bytes, CUmodule module, const char *name) {
    *address = 0x60000000300;
    *bytes = 12;
    return call("cuModuleGetGlobal", " %s of %p", name, (void *)module);
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
    *value = attribute == CU_FUNC_ATTRIBUTE_NUM_REGS ? 168
           : attribute == CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES ? 24
           : attribute == CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES ? 1024 : -1;
    return function == (CUfunction)(size_t)0x60000000200 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    return call("cuFuncSetAttribute", " %p %s %d", (void *)function,
                attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES ? "MAX_DYNAMIC_SHARED_SIZE_BYTES"
                : attribute == CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED ? "NON_PORTABLE_CLUSTER_SIZE_ALLOWED"
                : "another", value);
}

/* The parameters of kernel(int *p, int i, float f, long long l, const __grid_constant__ CUtensorMap map). */
static const size_t offsets[] = {0, 8, 12, 16, 128}, sizes[] = {8, 4, 4, 8, sizeof(CUtensorMap)};

CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t *offset, size_t *size) {
    if (function != (CUfunction)(size_t)0x60000000200) return CUDA_ERROR_INVALID_HANDLE;
    if (index >= 5) return CUDA_ERROR_INVALID_VALUE;
    *offset = offsets[index];
    *size = sizes[index];
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads, size_t shared) {
    *blocks = 3;
    return call("cuOccupancyMaxActiveBlocksPerMultiprocessor", " %p %d threads %zu bytes", (void *)function, threads,
                shared);
}

static void describe(char *text, size_t size, const CUlaunchConfig *c) {
    int n = snprintf(text, size, " grid %u %u %u block %u %u %u shared %u stream %p", c->gridDimX, c->gridDimY,
                     c->gridDimZ, c->blockDimX, c->blockDimY, c->blockDimZ, c->sharedMemBytes, (void *)c->hStream);
    for (unsigned i = 0; i < c->numAttrs; i++) {
        const CUlaunchAttribute *a = &c->attrs[i];
        if (a->id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) {
            n += snprintf(text + n, size - (size_t)n, " cluster %u %u %u", a->value.clusterDim.x,
                          a->value.clusterDim.y, a->value.clusterDim.z);
        } else if (a->id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION) {
            n += snprintf(text + n, size - (size_t)n, " programmatic %d",
                          a->value.programmaticStreamSerializationAllowed);
        } else if (a->id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE) {
            n += snprintf(text + n, size - (size_t)n, " cooperative %d", a->value.cooperative);
        } else {
            n += snprintf(text + n, size - (size_t)n, " attribute %d", (int)a->id);
        }
    }
}

static void values(char *text, size_t size, void **p) {
    long long l;
    memcpy(&l, p[3], 8);
    snprintf(text, size, " values %d %d %g %lld %d", **(int **)p[0], *(int *)p[1], *(float *)p[2], l,
             *((unsigned char *)p[4] + 127));
}

CUresult cuOccupancyMaxActiveClusters(int *clusters, CUfunction function, const CUlaunchConfig *config) {
    char text[512];
    describe(text, sizeof text, config);
    *clusters = 66;
    return call("cuOccupancyMaxActiveClusters", " %p%s", (void *)function, text);
}

/* Launches are not even looked at: what remains is the caller's own cost. */
static int quiet;

int standin_quiet(int on) {
    quiet = on;
    return 0;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **params, void **extra) {
    if (quiet) return CUDA_SUCCESS;
    char text[512], read[256];
    describe(text, sizeof text, config);
    values(read, sizeof read, params);
    return call("cuLaunchKernelEx", " %p%s%s extra %p", (void *)function, text, read, (void *)extra);
}

CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank, void *address,
                                const cuuint64_t *dims, const cuuint64_t *strides, const cuuint32_t *box,
                                const cuuint32_t *steps, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill outside) {
    memset(map, 77, sizeof *map);
    return call("cuTensorMapEncodeTiled", "%s %s at %p dims %llu %llu %llu strides %llu %llu box %u %u %u steps %u %u"
                " %u interleave %d swizzle %s promotion %s outside %d rank %u", (size_t)map % 64 ? " unaligned" : "",
                type == CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 ? "BFLOAT16" : "another", address,
                (unsigned long long)dims[0], (unsigned long long)dims[1], (unsigned long long)dims[2],
                (unsigned long long)strides[0], (unsigned long long)strides[1], box[0], box[1], box[2], steps[0],
                steps[1], steps[2], (int)interleave, swizzle == CU_TENSOR_MAP_SWIZZLE_64B ? "64B" : "another",
                promotion == CU_TENSOR_MAP_L2_PROMOTION_L2_128B ? "128B" : "another", (int)outside, rank);
}

/* ------------------------------------------------------------------------------------------- graphs */

CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode) {
    return call("cuStreamBeginCapture", " %p %s", (void *)stream,
                mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL ? "thread local" : "another mode");
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
    *graph = (CUgraph)(size_t)0x70000000100;
    return call("cuStreamEndCapture", " %p", (void *)stream);
}

CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
    *status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return call("cuStreamIsCapturing", " %p", (void *)stream);
}

CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count) {
    if (nodes) for (size_t i = 0; i < *count; i++) nodes[i] = (CUgraphNode)(0x70000001000 + i);
    else *count = 3;
    return call("cuGraphGetNodes", " %p", (void *)graph);
}

CUresult cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *type) {
    *type = (size_t)node == 0x70000001001 ? CU_GRAPH_NODE_TYPE_MEMCPY : CU_GRAPH_NODE_TYPE_KERNEL;
    return CUDA_SUCCESS;
}

CUresult cuGraphKernelNodeGetParams(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS *params) {
    memset(params, 0, sizeof *params);
    if ((size_t)node == 0x70000001000) params->func = (CUfunction)(size_t)0x60000000200;
    else params->kern = (CUkernel)(size_t)0x60000000999;
    return CUDA_SUCCESS;
}

CUresult cuGraphInstantiate(CUgraphExec *executable, CUgraph graph, unsigned long long flags) {
    *executable = (CUgraphExec)(size_t)0x70000000200;
    return call("cuGraphInstantiate", " %p flags %llu", (void *)graph, flags);
}

CUresult cuGraphDestroy(CUgraph graph) { return call("cuGraphDestroy", " %p", (void *)graph); }

CUresult cuGraphExecDestroy(CUgraphExec executable) { return call("cuGraphExecDestroy", " %p", (void *)executable); }

CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
    return call("cuGraphLaunch", " %p on %p", (void *)executable, (void *)stream);
}

CUresult cuGraphExecKernelNodeSetParams(CUgraphExec executable, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *p) {
    char read[256];
    values(read, sizeof read, p->kernelParams);
    return call("cuGraphExecKernelNodeSetParams", " %p node %p function %p grid %u %u %u block %u %u %u shared %u%s"
                " extra %p kernel %p", (void *)executable, (void *)node, (void *)p->func, p->gridDimX, p->gridDimY,
                p->gridDimZ, p->blockDimX, p->blockDimY, p->blockDimZ, p->sharedMemBytes, read, (void *)p->extra,
                (void *)p->kern);
}

/* ------------------------------------------------------------------------------------------- cuBLASLt
 * Its header is not everywhere where cuda.h is, so these are written down once more, from NVIDIA's documentation. */
#include <stdint.h>

typedef int cublasStatus_t;

const char *cublasLtGetStatusName(cublasStatus_t s) {
    return s == 15 ? "CUBLAS_STATUS_NOT_SUPPORTED" : s == 7 ? "CUBLAS_STATUS_INVALID_VALUE" : "another";
}

const char *cublasLtGetStatusString(cublasStatus_t s) { return s == 15 ? "not supported" : "invalid value"; }

cublasStatus_t cublasLtCreate(void **handle) { *handle = (void *)0x80000000100; return call("cublasLtCreate", ""); }

cublasStatus_t cublasLtDestroy(void *handle) { return call("cublasLtDestroy", " %p", handle); }

cublasStatus_t cublasLtMatmulDescCreate(void **desc, int compute, int scale) {
    *desc = (void *)0x80000000200;
    return call("cublasLtMatmulDescCreate", " %d %d", compute, scale);
}

cublasStatus_t cublasLtMatmulDescDestroy(void *desc) { return call("cublasLtMatmulDescDestroy", " %p", desc); }

cublasStatus_t cublasLtMatmulDescSetAttribute(void *desc, int attribute, const void *value, size_t size) {
    long long v = 0;
    memcpy(&v, value, size <= 8 ? size : 0);
    return call("cublasLtMatmulDescSetAttribute", " %p %d = %lld of %zu bytes", desc, attribute, v, size);
}

cublasStatus_t cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    static size_t next = 0x80000001000;
    *layout = (void *)(next += 0x10);
    return call("cublasLtMatrixLayoutCreate", " %d %llu %llu %lld", type, (unsigned long long)rows,
                (unsigned long long)columns, (long long)leading);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(void *layout) {
    return call("cublasLtMatrixLayoutDestroy", "%s", layout ? "" : " null");
}

cublasStatus_t cublasLtMatmulPreferenceCreate(void **preference) {
    *preference = (void *)0x80000000300;
    return call("cublasLtMatmulPreferenceCreate", "");
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(void *preference) {
    return call("cublasLtMatmulPreferenceDestroy", " %p", preference);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, const void *value, size_t size) {
    return call("cublasLtMatmulPreferenceSetAttribute", " %p %d = %llu of %zu bytes", preference, attribute,
                (unsigned long long)*(const uint64_t *)value, size);
}

typedef struct {
    uint64_t algo[8];
    size_t workspaceSize;
    cublasStatus_t state;
    float wavesCount;
    int reserved[4];
} heuristicResult;

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(void *handle, void *desc, void *a, void *b, void *c, void *d,
                                              void *preference, int requested, heuristicResult *results, int *found) {
    memset(results, 0, sizeof *results);
    results->algo[7] = 4711;
    results->workspaceSize = 12345;
    *found = 1;
    return call("cublasLtMatmulAlgoGetHeuristic", " %p %p %s %p requested %d", handle, desc,
                a != b && b != c && c == d ? "A B D D" : "other layouts", preference, requested);
}

cublasStatus_t cublasLtMatmul(void *handle, void *desc, const void *alpha, const void *A, void *a, const void *B,
                              void *b, const void *beta, const void *C, void *c, void *D, void *d,
                              const heuristicResult *algo, void *workspace, size_t size, CUstream stream) {
    return call("cublasLtMatmul", " %p %p alpha %g beta %g first of A %d of B %d %s %s algo %llu workspace %s %zu on"
                " %p", handle, desc, *(const float *)alpha, *(const float *)beta, *(const unsigned char *)A,
                *(const unsigned char *)B, C == D ? "in D" : "elsewhere",
                a != b && b != c && c == d ? "A B D D" : "other",
                (unsigned long long)algo->algo[7], workspace ? "there" : "missing", size, (void *)stream);
}
