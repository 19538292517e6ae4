/* Rows alone: with 16 registers the router's product is not faster than on the Vector API. */
#define LEVEL(name) octet_moe_##name##_avx2
#define LANES_FILE "lanes_avx2.h"

#include "kernels.h"
