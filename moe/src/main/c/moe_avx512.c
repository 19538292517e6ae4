#define LEVEL(name) octet_moe_##name##_avx512
#define LANES_FILE "lanes_avx512.h"

#include "kernels.h"

#include "router.h"
