/*
 * The kernels of rows, for one instruction set; the router's are in router.h. Who includes this has defined LEVEL(name), the name of a function for the set,
 * and gives in LANES_FILE vectors of LANES floats:
 *
 *   zero, all, multiply_add, times, load, store   as one would think; past_cache: to memory, aligned to a vector
 *   load_halves                          LANES of BF16 as they lie
 *   load_even, load_odd, store_pairs     2 LANES of BF16, those with even and those with odd numbers
 *   store_halves                         2 LANES of BF16 as they lie
 *   fence                                what went past the caches is seen by others
 */
#include <math.h>
#include <string.h>

#include "moe.h"

#define INLINE static inline __attribute__((always_inline))

#include LANES_FILE

#include "rows.h"
