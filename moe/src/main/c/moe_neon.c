#define LEVEL(name) octet_moe_##name##_neon
#define LANES_FILE "lanes_neon.h"

#include "kernels.h"

#include "router.h"
