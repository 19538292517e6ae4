/* What does not depend on the instruction set. */
#include "mla.h"

int32_t octet_abi(void) {
    return OCTET_MLA_ABI;
}
