// What fp8_gemm_hopper.cu does with a tile's sums: the epilogue, and two ways to D.

OCTET_DEVICE float bf16_at(const void* p, long long index) {
    return bits_to_float((unsigned) ((const unsigned short*) p)[index] << 16);
}

// activation(sum + addend + bias), in FP32, is made in three steps: one after the other for all of a thread's sums, so
// that the code of each is small.

OCTET_DEVICE float addend_at(const GemmArguments& arguments, int token, int channel) {
    long long at = token * arguments.addendRow + channel * arguments.addendColumn;
    return arguments.addendBf16 ? bf16_at(arguments.addend, at) : ((const float*) arguments.addend)[at];
}

OCTET_DEVICE float bias_at(const GemmArguments& arguments, int channel) {
    long long at = channel * arguments.biasStep;
    return arguments.biasBf16 ? bf16_at(arguments.bias, at) : ((const float*) arguments.bias)[at];
}

OCTET_DEVICE float silu(float x) {
    return x / (1.0f + expf(-x));
}

OCTET_DEVICE void store_one(const GemmArguments& arguments, long long at, float x) {
    if (OCTET_OUT_F32) {
        ((float*) arguments.d)[at] = x;
    } else {
        ((unsigned short*) arguments.d)[at] = (unsigned short) pack_bf16(x, 0.0f);
    }
}

#if OCTET_OUT_FP8
// The scale of 128 channels of a token, whose largest magnitude has these bits: fp8's recipe. The last tile of a cluster
// may lie behind all channels; it has no scale.
OCTET_DEVICE float fresh_scale(const GemmArguments& arguments, unsigned largest, int token, int channel, bool writes) {
    float scale = scale_of(largest, arguments.dE5m2 ? 57344.0f : 448.0f, arguments.dScaleFormat);
    if (writes && channel < arguments.channels) {
        store_scale((u8*) arguments.dScales, token * arguments.dScaleRow + channel / 128 * arguments.dScaleColumn,
                arguments.dScaleFormat, scale);
    }
    return scale;
}

OCTET_DEVICE unsigned larger(unsigned a, unsigned b) {
    return a > b ? a : b;
}

OCTET_DEVICE void store_codes(const GemmArguments& arguments, unsigned word, int token, int channel) {
    u8* to = (u8*) arguments.d + token * arguments.dRow;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        if (channel + j < arguments.channels) {
            to[(channel + j) * arguments.dColumn] = (u8) (word >> 8 * j);
        }
    }
}

/**
 * Left is A, and D is FP8. Four lanes have the 128 channels of a token, each pairs of neighbours, 8 channels apart:
 * they find the largest magnitude by two shuffles, and by two more for each 32 channels every lane gets 8 neighbours.
 */
OCTET_DEVICE void store_quantized(const GemmArguments& arguments, const Place& place, const Tile& tile,
        float (&total)[SLABS][COLS / 2]) {
    Codec codes = codec(arguments.dE5m2 ? E5M2 : E4M3, true);
    int quad = place.lane & 3;
#pragma unroll
    for (int slab = 0; slab < SLABS; slab++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int token = tile.token + place.row(slab) + half * 8;
            float* x = total[slab] + half * 2; // columns 8 j + 2 quad and the next are x[4 j] and x[4 j + 1]
            unsigned largest = 0;
#pragma unroll
            for (int i = 0; i < COLS / 2; i += 4) {
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    bool inside = tile.channel + place.column(i) + e < arguments.channels;
                    largest = larger(largest, inside ? float_to_bits(x[i + e]) & MAGNITUDE : 0);
                }
            }
            largest = larger(largest, shuffle_bits(largest, place.lane ^ 1));
            largest = larger(largest, shuffle_bits(largest, place.lane ^ 2));
            bool inside = token < tile.tokenEnd;
            float factor = __fdiv_rn(1.0f, fresh_scale(arguments, largest, token, tile.channel, inside && quad == 0));
#pragma unroll
            for (int i = 0; i < COLS / 2; i += 16) {
                unsigned first = encode_quantized4(codes, __fmul_rn(x[i], factor), __fmul_rn(x[i + 1], factor),
                        __fmul_rn(x[i + 4], factor), __fmul_rn(x[i + 5], factor));
                unsigned second = encode_quantized4(codes, __fmul_rn(x[i + 8], factor), __fmul_rn(x[i + 9], factor),
                        __fmul_rn(x[i + 12], factor), __fmul_rn(x[i + 13], factor));
                // Pairs 0 and 1 are in the first word, 2 and 3 in the second; lane q is to have pair q of all four.
                unsigned kept = quad < 2 ? first : second;
                unsigned got = shuffle_bits(quad < 2 ? second : first, place.lane ^ 2);
                unsigned low = quad < 2 ? kept : got;  // of lane quad % 2, then of the one 2 further on
                unsigned high = quad < 2 ? got : kept;
                unsigned even = low & 0xffffu | high << 16;
                unsigned odd = low >> 16 | high & 0xffff0000u;
                kept = quad & 1 ? odd : even;
                got = shuffle_bits(quad & 1 ? even : odd, place.lane ^ 1);
                low = quad & 1 ? got : kept;
                high = quad & 1 ? kept : got;
                unsigned words[2] = {low & 0xffffu | high << 16, low >> 16 | high & 0xffff0000u};
                int channel = tile.channel + i * 2 + quad * 8;
                if (inside && arguments.alignedOutput && channel + 8 <= arguments.channels) {
                    *(uint2*) ((u8*) arguments.d + token * arguments.dRow + channel) = make_uint2(words[0], words[1]);
                } else if (inside) {
                    store_codes(arguments, words[0], token, channel);
                    store_codes(arguments, words[1], token, channel + 4);
                }
            }
        }
    }
}
#endif

#if OCTET_EPILOGUE
OCTET_DEVICE void finish(const GemmArguments& arguments, const Place& place, const Tile& tile,
        float (&total)[SLABS][COLS / 2]) {
#pragma unroll
    for (int slab = 0; slab < SLABS; slab++) {
        int token = tile.token + place.row(slab);
        if (arguments.addend) {
#pragma unroll
            for (int i = 0; i < COLS / 2; i++) {
                int t = token + ((i >> 1) & 1) * 8;
                int c = tile.channel + place.column(i) + (i & 1);
                if (t < tile.tokenEnd && c < arguments.channels) {
                    total[slab][i] += addend_at(arguments, t, c);
                }
            }
        }
        if (arguments.bias) {
#pragma unroll
            for (int j = 0; j < COLS / 4; j++) {
                int i = (j >> 1) * 4 + (j & 1);
                int c = tile.channel + place.column(i) + (i & 1);
                float bias = c < arguments.channels ? bias_at(arguments, c) : 0.0f;
                total[slab][i] += bias;
                total[slab][i + 2] += bias;
            }
        }
        if (arguments.silu) {
#pragma unroll
            for (int i = 0; i < COLS / 2; i++) {
                total[slab][i] = silu(total[slab][i]);
            }
        }
    }
}
#endif

/** Left is A: results leave as they lie in registers, through shared memory and TMA or, if that can't be, at once. */
OCTET_DEVICE void store_upright(const GemmArguments& arguments, unsigned shared, const TensorMap* d, const Place& place,
        const Tile& tile, float (&total)[SLABS][COLS / 2]) {
#if OCTET_EPILOGUE
    finish(arguments, place, tile, total);
#endif
#if OCTET_OUT_FP8
    store_quantized(arguments, place, tile, total);
#else
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
            long long at = t * arguments.dRow + c * arguments.dColumn;
            if (arguments.alignedOutput && c + 1 < arguments.channels) {
                if (OCTET_OUT_F32) {
                    *(float2*) ((float*) arguments.d + at) = make_float2(total[slab][i], total[slab][i + 1]);
                } else {
                    *(unsigned*) ((unsigned short*) arguments.d + at) = pack_bf16(total[slab][i], total[slab][i + 1]);
                }
            } else {
                store_one(arguments, at, total[slab][i]);
                if (c + 1 < arguments.channels) {
                    store_one(arguments, at + arguments.dColumn, total[slab][i + 1]);
                }
            }
        }
    }
#endif
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
        // All lanes of a warp have the same token, and a scale of D wants them all.
        if (token >= tile.tokenEnd || !OCTET_OUT_FP8 && channel >= arguments.channels) {
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
#if OCTET_EPILOGUE
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (j < count) {
                x[j] += arguments.addend ? addend_at(arguments, token, channel + j) : 0.0f;
                x[j] += arguments.bias ? bias_at(arguments, channel + j) : 0.0f;
                x[j] = arguments.silu ? silu(x[j]) : x[j];
            }
        }
#endif
#if OCTET_OUT_FP8
        unsigned largest = 0;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            largest = larger(largest, j < count ? float_to_bits(x[j]) & MAGNITUDE : 0);
        }
#pragma unroll
        for (int lane = 1; lane < 32; lane *= 2) {
            largest = larger(largest, shuffle_bits(largest, place.lane ^ lane));
        }
        float factor = __fdiv_rn(1.0f, fresh_scale(arguments, largest, token, tile.channel, place.lane == 0));
        unsigned word = encode_quantized4(codec(arguments.dE5m2 ? E5M2 : E4M3, true), __fmul_rn(x[0], factor),
                __fmul_rn(x[1], factor), __fmul_rn(x[2], factor), __fmul_rn(x[3], factor));
        if (count == 4 && arguments.alignedOutput) {
            *(unsigned*) ((u8*) arguments.d + token * arguments.dRow + channel) = word;
        } else {
            store_codes(arguments, word, token, channel);
        }
#else
        long long target = token * arguments.dRow + channel * arguments.dColumn;
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
                    store_one(arguments, target + j * arguments.dColumn, x[j]);
                }
            }
        }
#endif
    }
}
