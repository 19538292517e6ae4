/* Dequantisation and casts with AVX2 and F16C. */
#include "lanes_avx2.h"

#include "convert.h"
