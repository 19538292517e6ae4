/*
 * GEMM with AMX. Packed A and decoded B lie as TDPBF16PS wants its operands: 16 units of 16 columns of B are its first,
 * 16 units of 16 rows of A its second, and its result is 16 columns of 16 rows of sums. Few rows of A are multiplied as
 * with AVX512_BF16. It was compiled, and never run: no machine with AMX was at hand. So it is taken only when
 * octet.native.level=amx asks for it.
 */
#include "avx512.h"
#include "bf16_codes.h"

#define SUFFIX amx
#define L 16
#define U 2
#define STEP 64
#define V 4
#define C 8
#define RUN 96
#define OWN_SWEEP

#include "gemm.h"

enum { TILE = 16 }; /* rows of a tile, and units in one of them */

struct tile_config {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* One block of 32 columns and 16 rows, or 32: sums += block sums * scales */
static void tiles(int64_t height, int two, const uint32_t *a, const uint32_t *b, float *sums, const float *scales_a,
                  const float *scales_b) {
    float part[2 * TILE][2 * TILE] __attribute__((aligned(64)));
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int u = 0; u < UNITS; u += TILE) {
        _tile_loadd(4, b + u, UNITS * 4);
        _tile_loadd(5, b + TILE * UNITS + u, UNITS * 4);
        _tile_loadd(6, a + u * height, (size_t)height * 4);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 5, 6);
        if (two) {
            _tile_loadd(7, a + u * height + TILE, (size_t)height * 4);
            _tile_dpbf16ps(2, 4, 7);
            _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, part[0], sizeof part[0]);
    _tile_stored(1, part[TILE], sizeof part[0]);
    _tile_stored(2, part[0] + TILE, sizeof part[0]);
    _tile_stored(3, part[TILE] + TILE, sizeof part[0]);
    for (int i = 0; i <= two; i++) {
        vec s = load(scales_a + i * L);
        for (int j = 0; j < 2 * TILE; j++) {
            float *to = sums + j * height + i * L;
            store(to, madd(load(part[j] + i * L), mul(s, set1(scales_b[j])), load(to)));
        }
    }
}

static void sweep(int64_t v, const uint32_t *a, float *sums, const float *scales_a, const struct run *x) {
    struct tile_config config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = TILE;
    }
    _tile_loadconfig(&config);
    int64_t height = v * L;
    for (int64_t n = 0; n < x->columns; n += 2 * TILE) {
        before_tile(x, n, 2 * TILE);
        for (int64_t i = 0; i < v; i += 2) {
            tiles(height, i + 1 < v, a + i * L, x->units + n * UNITS, sums + n * height + i * L, scales_a + i * L,
                  x->scales + n);
        }
        after_tile(x, n, 2 * TILE);
    }
    _tile_release();
}
