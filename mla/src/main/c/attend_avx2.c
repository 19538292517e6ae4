/* Attention in both forms with AVX2: tiles of 12 accumulators, of 6 keys by 16 rows and of 6 rows by 16 values. */
#define SUFFIX avx2
#define UNIT_DIMS 1
#include "lanes_avx2.h"
#include "attend.h"
