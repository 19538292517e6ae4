/* The probes' common part. */
#include "octet.h"

int32_t octet_abi(void) {
    return 1;
}

/* What a call costs that does nothing. */
OCTET_EXPORT int64_t octet_benchmarks_nothing(int64_t x) {
    return x;
}
