/* Quantisers with AVX-512. */
#include "lanes_avx512.h"

#include "quantize.h"
