/*
 * Attention in the naive form with AVX512_BF16, where all that is read is BF16: scores are made of VDPBF16PS, two
 * dimensions at a time, whose products are exact. Weights stay FP32 and meet values widened to FP32: rounded to BF16
 * they would be off by 2^-9, and as sums of two BF16 numbers take as many instructions.
 */
#define SUFFIX avx512bf16
#define UNIT_DIMS 2
#include "lanes_avx512.h"
#include "attend.h"
