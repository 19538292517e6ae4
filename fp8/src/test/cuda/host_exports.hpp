// What the test's side calls: one function that launches a kernel by its name, as cuLaunchKernelEx would. The build
// makes the table of kernels from the extern "C" __global__ functions of the .cu file.
#pragma once

#include <type_traits>
#include <utility>

#include "host_runtime.hpp"

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

namespace octet_host {

struct Kernel {
    const char* name;
    void (*run)(void** arguments);
    size_t sizes[16];
    int parameters;
};

template <auto F>
struct Thunk;

template <class... A, void (*F)(A...)>
struct Thunk<F> {
    static_assert(sizeof...(A) <= 16);
    template <size_t... I>
    static void call(void** arguments, std::index_sequence<I...>) {
        F(*static_cast<std::remove_cv_t<A>*>(arguments[I])...);
    }
    static void run(void** arguments) { call(arguments, std::index_sequence_for<A...>()); }
    static Kernel kernel(const char* name) { return {name, run, {sizeof(A)...}, int(sizeof...(A))}; }
};

} // namespace octet_host

#define OCTET_KERNELS(...)                                                                                             \
    static octet_host::Kernel octet_kernels[] = {__VA_ARGS__};                                                         \
    static octet_host::Kernel* octet_find(const char* name) {                                                          \
        for (octet_host::Kernel & k : octet_kernels) {                                                                 \
            if (strcmp(k.name, name) == 0) {                                                                           \
                return &k;                                                                                             \
            }                                                                                                          \
        }                                                                                                              \
        return nullptr;                                                                                                \
    }
#define OCTET_KERNEL(name) octet_host::Thunk<name>::kernel(#name)

/// Both are defined after OCTET_KERNELS by OCTET_EXPORTS.
/// int octet_parameters(name, sizes): how many parameters a kernel has, and the bytes of each; -1 if there is none.
/// int octet_launch(name, shape, sharedBytes, order, arguments, error, errorBytes): 0, or 1 and a text. The shape is
/// grid x, y, z, block x, y, z, cluster x, y, z.
#define OCTET_EXPORTS                                                                                                  \
    extern "C" __attribute__((visibility("default"))) int octet_parameters(const char* name, long* sizes) {            \
        octet_host::Kernel* k = octet_find(name);                                                                      \
        for (int i = 0; k && i < k->parameters; i++) {                                                                 \
            sizes[i] = long(k->sizes[i]);                                                                              \
        }                                                                                                              \
        return k ? k->parameters : -1;                                                                                 \
    }                                                                                                                  \
    extern "C" __attribute__((visibility("default"))) int octet_launch(const char* name, const unsigned* shape,        \
            long sharedBytes, long order, void** arguments, char* error, long errorBytes) {                            \
        octet_host::Kernel* k = octet_find(name);                                                                      \
        octet_host::Launch launch;                                                                                     \
        launch.grid = {shape[0], shape[1], shape[2]};                                                                  \
        launch.block = {shape[3], shape[4], shape[5]};                                                                 \
        launch.cluster = {shape[6], shape[7], shape[8]};                                                               \
        launch.sharedBytes = size_t(sharedBytes);                                                                      \
        launch.order = (unsigned long) order;                                                                          \
        launch.run = k ? k->run : nullptr;                                                                             \
        launch.arguments = arguments;                                                                                  \
        std::string message = k ? octet_host::execute(launch) : std::string("there is no kernel ") + name;             \
        snprintf(error, size_t(errorBytes), "%s", message.c_str());                                                    \
        return message.empty() ? 0 : 1;                                                                                \
    }
