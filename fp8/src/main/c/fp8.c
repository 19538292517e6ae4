/* What does not depend on the instruction set. */
#include "fp8.h"

int32_t octet_abi(void) {
    return FP8_ABI;
}
