/* Attention in the naive form with AVX-512: tiles of 24 accumulators, of 12 keys by 32 rows and 6 rows by 64 values. */
#define SUFFIX avx512
#define UNIT_DIMS 1
#include "lanes_avx512.h"
#include "attend.h"
