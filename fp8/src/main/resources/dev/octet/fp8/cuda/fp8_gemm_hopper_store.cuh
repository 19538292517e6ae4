// What fp8_gemm_hopper.cu does with a tile's sums: the epilogue, and two ways to D.

OCTET_DEVICE float bf16_at(const void* p, long long index) {
    return bits_to_float((unsigned) ((const unsigned short*) p)[index] << 16);
}

// activation(sum + addend + bias), in FP32.
OCTET_DEVICE float finish(const GemmArguments& arguments, float x, int token, int channel) {
    if (arguments.addend) {
        long long at = token * arguments.addendStride + channel;
        x += arguments.addendBf16 ? bf16_at(arguments.addend, at) : ((const float*) arguments.addend)[at];
    }
    if (arguments.bias) {
        x += arguments.biasBf16 ? bf16_at(arguments.bias, channel) : ((const float*) arguments.bias)[channel];
    }
    return arguments.silu ? x / (1.0f + expf(-x)) : x;
}

OCTET_DEVICE bool has_epilogue(const GemmArguments& arguments) {
    return arguments.addend || arguments.bias || arguments.silu;
}

OCTET_DEVICE void store_one(const GemmArguments& arguments, long long at, float x) {
    if (OCTET_OUT_F32) {
        ((float*) arguments.d)[at] = x;
    } else {
        ((unsigned short*) arguments.d)[at] = (unsigned short) pack_bf16(x, 0.0f);
    }
}

/** Left is A: results leave as they lie in registers, through shared memory and TMA or, if that can't be, at once. */
OCTET_DEVICE void store_upright(const GemmArguments& arguments, unsigned shared, const TensorMap* d, const Place& place,
        const Tile& tile, float (&total)[SLABS][COLS / 2]) {
    if (has_epilogue(arguments)) {
#pragma unroll
        for (int slab = 0; slab < SLABS; slab++) {
            int token = tile.token + place.row(slab);
#pragma unroll
            for (int i = 0; i < COLS / 2; i++) {
                int t = token + ((i >> 1) & 1) * 8;
                int c = tile.channel + place.column(i) + (i & 1);
                if (t < tile.tokenEnd && c < arguments.channels) {
                    total[slab][i] = finish(arguments, total[slab][i], t, c);
                }
            }
        }
    }
    // TMA cuts off at the ends of D, but not where the next group's tokens begin.
    bool whole = tile.token + ROWS <= tile.tokenEnd || tile.tokenEnd == arguments.tokens;
    if (!OCTET_OUT_F32 && arguments.tmaStore && whole) {
        int thread = (int) thread_index() & 127;
        unsigned own = shared + OUT_AT + place.group * (SLABS * 64 * COLS * 2);
        if (thread == 0) {
            tma_store_wait_read();
        }
        warp_barrier();
        named_barrier(1 + place.group, 128);
        // Lane 8 i + r: row r of rows 0-7 (i even) or 8-15 (i odd), columns 0-7 (i < 2) or 8-15.
        int row = place.warp * 16 + (place.lane & 15);
#pragma unroll
        for (int slab = 0; slab < SLABS; slab++) {
#pragma unroll
            for (int j = 0; j < COLS / 16; j++) {
                // 16-byte chunks of a line are exchanged by bits 7 and up of the address (PTX, swizzling modes of tensors).
                int column = j * 16 + (place.lane >> 4) * 8;
                unsigned line = (slab * (COLS / LINE) + column / LINE) * (64 * LINE * 2) + row * (LINE * 2);
                unsigned chunk = (column % LINE / 8) ^ (line >> 7 & (LINE / 8 - 1));
                float* t = total[slab] + j * 8;
                store_matrices(own + line + chunk * 16, pack_bf16(t[0], t[1]), pack_bf16(t[2], t[3]),
                        pack_bf16(t[4], t[5]), pack_bf16(t[6], t[7]));
            }
        }
        fence_async();
        named_barrier(1 + place.group, 128);
        if (thread == 0) {
            for (int slab = 0; slab < SLABS; slab++) {
                int token = tile.token + (place.group * SLABS + slab) * 64;
                for (int line = 0; line < COLS / LINE && token < tile.tokenEnd; line++) {
                    if (tile.channel + line * LINE < arguments.channels) {
                        tma_store(d, own + (slab * (COLS / LINE) + line) * (64 * LINE * 2), tile.channel + line * LINE,
                                token);
                    }
                }
            }
            tma_store_commit();
        }
        return;
    }
#pragma unroll
    for (int slab = 0; slab < SLABS; slab++) {
#pragma unroll
        for (int i = 0; i < COLS / 2; i += 2) {
            int t = tile.token + place.row(slab) + ((i >> 1) & 1) * 8;
            int c = tile.channel + place.column(i);
            if (t >= tile.tokenEnd || c >= arguments.channels) {
                continue;
            }
            long long at = t * arguments.ldd + c;
            if (arguments.alignedOutput && c + 1 < arguments.channels) {
                if (OCTET_OUT_F32) {
                    *(float2*) ((float*) arguments.d + at) = make_float2(total[slab][i], total[slab][i + 1]);
                } else {
                    *(unsigned*) ((unsigned short*) arguments.d + at) = pack_bf16(total[slab][i], total[slab][i + 1]);
                }
            } else {
                store_one(arguments, at, total[slab][i]);
                if (c + 1 < arguments.channels) {
                    store_one(arguments, at + 1, total[slab][i + 1]);
                }
            }
        }
    }
}

/**
 * Left is B, or K is split: results are transposed in shared memory, [token][channel]; each thread then adds up the
 * parts of four channels of a token, in the order of their K, and stores them.
 */
OCTET_DEVICE void store_staged(const GemmArguments& arguments, unsigned shared, const Place& place, const Tile& tile,
        float (&total)[SLABS][COLS / 2]) {
    static_assert(!OCTET_SPLIT || OCTET_SWAPPED, "only the transposed tile is added up");
    unsigned out = shared + OUT_AT;
    named_barrier(3, 256); // all have read the tile before
#pragma unroll
    for (int slab = 0; slab < SLABS; slab++) {
#pragma unroll
        for (int i = 0; i < COLS / 2; i++) {
            int row = place.row(slab) + ((i >> 1) & 1) * 8;
            int column = place.column(i) + (i & 1);
            store_shared(out + (column * PITCH + row) * 4, total[slab][i]);
        }
    }
    int rank = 0;
    int size = 1;
    if (OCTET_SPLIT) {
        rank = (int) cluster_rank();
        size = (int) cluster_size();
        cluster_barrier();
    } else {
        named_barrier(3, 256);
    }
    constexpr int QUADS = ROWS / 4;
    int from = COLS * rank / size * QUADS;
    int to = COLS * (rank + 1) / size * QUADS;
    for (int i = from + (int) thread_index() - 128; i < to; i += 256) {
        int token = tile.token + i / QUADS;
        int channel = tile.channel + i % QUADS * 4;
        if (token >= tile.tokenEnd || channel >= arguments.channels) {
            continue;
        }
        unsigned at = out + (i / QUADS * PITCH + i % QUADS * 4) * 4;
        float x[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        for (int part = 0; part < size; part++) {
            float v[4];
            load_cluster(OCTET_SPLIT ? peer_address(at, part) : at, v);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                x[j] += v[j];
            }
        }
        int count = arguments.channels - channel < 4 ? arguments.channels - channel : 4;
        if (has_epilogue(arguments)) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                if (j < count) {
                    x[j] = finish(arguments, x[j], token, channel + j);
                }
            }
        }
        long long target = token * arguments.ldd + channel;
        if (count == 4 && arguments.alignedOutput) {
            if (OCTET_OUT_F32) {
                *(float4*) ((float*) arguments.d + target) = make_float4(x[0], x[1], x[2], x[3]);
            } else {
                *(uint2*) ((unsigned short*) arguments.d + target)
                        = make_uint2(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]));
            }
        } else {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                if (j < count) {
                    store_one(arguments, target + j, x[j]);
                }
            }
        }
    }
}
