/* GEMM with AVX512_BF16: VDPBF16PS adds two products a lane, of BF16, which hold every FP8 code exactly. */
#include "avx512.h"
#include "bf16_codes.h"

#define SUFFIX avx512bf16
#define L 16
#define U 2
#define STEP 64
#define DECODES_TURNED

#include "gemm.h"
