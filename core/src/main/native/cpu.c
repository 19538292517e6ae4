/*
 * Which instruction sets may be used here. The processor says what it has (CPUID), the operating system which registers
 * it saves when threads are switched (XGETBV, and for AMX a permission that must be asked for); both are needed.
 */
#define _GNU_SOURCE /* syscall */
#include "octet.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18

static uint64_t saved_registers(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int has(uint32_t word, uint32_t bits) {
    return (word & bits) == bits;
}

int32_t octet_cpu_sets(void) {
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) {
        return 0;
    }
    if (!has(c, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C)) {
        return 0;
    }
    uint64_t saved = saved_registers();
    if ((saved & 0x6) != 0x6) { /* XMM, YMM */
        return 0;
    }
    uint32_t b7, c7, d7, a71 = 0;
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) {
        return 0;
    }
    if (a >= 1) {
        __get_cpuid_count(7, 1, &a71, &b, &c, &d);
    }
    int32_t sets = 0;
    if (has(b7, bit_AVX2 | bit_BMI2)) {
        sets |= OCTET_AVX2;
    } else {
        return sets;
    }
    if ((saved & 0xE6) == 0xE6 /* and masks, upper halves, ZMM16 to 31 */
            && has(b7, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL)) {
        sets |= OCTET_AVX512;
        if (has(c7, bit_AVX512VBMI) && has(a71, 1u << 5)) {
            sets |= OCTET_AVX512_BF16;
            if ((saved & 0x60000) == 0x60000 && has(d7, 1u << 22 | 1u << 24)
                    && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0) {
                sets |= OCTET_AMX;
            }
        }
    }
    return sets;
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

#define HWCAP2_BF16_BIT (1ul << 14)

int32_t octet_cpu_sets(void) {
    return OCTET_NEON | ((getauxval(AT_HWCAP2) & HWCAP2_BF16_BIT) != 0 ? OCTET_NEON_BF16 : 0);
}

#else

int32_t octet_cpu_sets(void) {
    return 0;
}

#endif
