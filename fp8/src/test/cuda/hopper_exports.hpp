// What the test's side calls: tensor maps as the driver would encode them, and one launch. Include hopper_machine.hpp and
// fp8_gemm_hopper.cu, compiled with OCTET_KERNEL=octet_gemm, before.
#pragma once

/// 0, or 1 and a text. Dimensions, strides and box as cuTensorMapEncodeTiled takes them.
extern "C" __attribute__((visibility("default"))) int octet_encode(void* to, int element, int rank, void* base,
        const uint64_t* dims, const uint64_t* strides, const uint32_t* box, int swizzle, char* error, long errorBytes) {
    const char* wrong = octet_hopper::encode(to, unsigned(element), unsigned(rank), base, dims, strides, box, unsigned(swizzle));
    snprintf(error, size_t(errorBytes), "%s", wrong ? wrong : "");
    return wrong != nullptr;
}

/// Maps of left, right, their scales and D, 128 bytes each; the struct of arguments; 0, or 1 and a text.
extern "C" __attribute__((visibility("default"))) int octet_hopper_launch(const void* maps, const void* arguments,
        long argumentBytes, int grid, int cluster, int sharedBytes, int timing, int seed, char* error, long errorBytes) {
    std::string message;
    if (argumentBytes != long(sizeof(GemmArguments)) || sharedBytes != SHARED_BYTES) {
        message = octet_hopper::format("%ld bytes of arguments and %d of shared memory, the kernel has %zu and %d",
                argumentBytes, sharedBytes, sizeof(GemmArguments), SHARED_BYTES);
    } else {
        TensorMap t[5];
        GemmArguments g;
        memcpy(t, maps, sizeof t);
        memcpy(&g, arguments, sizeof g);
        message = octet_hopper::run(unsigned(grid), unsigned(cluster), unsigned(sharedBytes), octet_hopper::Timing(timing),
                unsigned(seed), [&] { octet_gemm(t[0], t[1], t[2], t[3], t[4], g); });
    }
    snprintf(error, size_t(errorBytes), "%s", message.c_str());
    return message.empty() ? 0 : 1;
}
