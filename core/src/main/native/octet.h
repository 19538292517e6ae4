/*
 * What every native library of Octet has in common. A module's library is made of the module's own C files and of
 * cpu.c; nothing is shared at run time. Functions that Java calls are marked OCTET_EXPORT, take addresses, sizes and
 * strides that Java has checked, keep nothing between calls, and neither allocate nor throw nor print.
 */
#ifndef OCTET_H
#define OCTET_H

#include <stdint.h>

#define OCTET_EXPORT __attribute__((visibility("default")))

/* Bits of octet_cpu_sets(), in the order of dev.octet.core.ffi.InstructionSet. */
enum {
    OCTET_AVX2 = 1,        /* AVX2, FMA, F16C, BMI2 */
    OCTET_AVX512 = 2,      /* and AVX-512 F, BW, DQ, VL */
    OCTET_AVX512_BF16 = 4, /* and VBMI, BF16 */
    OCTET_AMX = 8,         /* and AMX-TILE, AMX-BF16 */
    OCTET_NEON = 16,       /* Arm's 64-bit baseline */
    OCTET_NEON_BF16 = 32   /* and BF16 dot products and matrix products */
};

/* The instruction sets that both the processor and the operating system support. */
OCTET_EXPORT int32_t octet_cpu_sets(void);

/* The version of the module's functions: each module defines it, and its Java code asks for the same number. */
OCTET_EXPORT int32_t octet_abi(void);

#endif
