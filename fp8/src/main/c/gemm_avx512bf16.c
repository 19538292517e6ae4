/* GEMM with AVX512_BF16: VDPBF16PS adds two products a lane, of BF16, which hold every FP8 code exactly. */
#include "avx512.h"
#include "bf16_codes.h"

#define SUFFIX avx512bf16
#define L 16
#define U 2
#define STEP 64
#define V 4
#define C 6
#define TAIL 8
#define RUN 96
#define FETCH_PANELS

#include "gemm.h"
