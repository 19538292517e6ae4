/* What does not depend on the instruction set. */
#include "moe.h"

int32_t octet_abi(void) {
    return OCTET_MOE_ABI;
}

/*
 * Scales of some positions from one on: those of their tokens, 1 in padding. They lie column by column, so that runs of
 * positions write whole cache lines.
 */
OCTET_EXPORT void octet_moe_gather(const struct octet_moe_gather *g, int64_t first, int64_t count,
                                   const int32_t *tokens) {
    for (int64_t c = 0; c < g->columns; c++) {
        const uint8_t *from = g->from + c * g->from_column;
        uint8_t *to = g->to + c * g->to_column + first * g->to_row;
        if (g->element == 1) {
            for (int64_t i = 0; i < count; i++) {
                to[i * g->to_row] = tokens[i] < 0 ? (uint8_t)g->one : from[tokens[i] * g->from_row];
            }
        } else {
            for (int64_t i = 0; i < count; i++) {
                *(moe_float *)(to + i * g->to_row) = tokens[i] < 0 ? moe_bits((uint32_t)g->one)
                        : *(const moe_float *)(from + tokens[i] * g->from_row);
            }
        }
    }
}
