/* One matrix for each head with AVX-512: 16 accumulators. */
#define SUFFIX avx512
#include "lanes_avx512.h"
#include "heads.h"
