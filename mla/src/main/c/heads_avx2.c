/* One matrix for each head with AVX2: 8 accumulators. */
#define SUFFIX avx2
#include "lanes_avx2.h"
#include "heads.h"
