/* Rows of tensors with any strides, as floats. A file that includes this has included the vectors (lanes_*.h). */

/** A row as floats. */
INLINE void load_floats(const uint8_t *at, int64_t bf16, int64_t stride, int64_t n, float *to) {
    int64_t d = 0;
    if (bf16 && stride == 2) {
        for (; d + LANES <= n; d += LANES) {
            v_storeu(to + d, v_widen(at + 2 * d));
        }
    } else if (!bf16 && stride == 4) {
        for (; d + LANES <= n; d += LANES) {
            v_storeu(to + d, v_loadu(at + 4 * d));
        }
    }
    for (; d < n; d++) {
        uint32_t bits;
        if (bf16) {
            uint16_t half;
            memcpy(&half, at + d * stride, 2);
            bits = (uint32_t)half << 16;
        } else {
            memcpy(&bits, at + d * stride, 4);
        }
        memcpy(to + d, &bits, 4);
    }
}

/** Some floats, at most as many as there are lanes, into a row. */
INLINE void store_floats(vec y, int64_t n, uint8_t *to, int64_t bf16, int64_t stride) {
    const int64_t size = bf16 ? 2 : 4;
    if (stride == size && n >= LANES) {
        if (bf16) {
            v_narrow(to, y);
        } else {
            v_storeu(to, y);
        }
        return;
    }
    uint8_t line[4 * LANES];
    if (bf16) {
        v_narrow(line, y);
    } else {
        v_storeu(line, y);
    }
    for (int64_t i = 0; i < LANES && i < n; i++) {
        memcpy(to + i * stride, line + i * size, (size_t)size);
    }
}
