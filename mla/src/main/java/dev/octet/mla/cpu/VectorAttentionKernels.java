package dev.octet.mla.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;
import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LSHR;
import static jdk.incubator.vector.VectorOperators.OR;

import dev.octet.core.BFloat16;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** {@link AttentionKernels} on the Vector API. */
final class VectorAttentionKernels implements AttentionKernels {
    static final VectorAttentionKernels KERNELS = new VectorAttentionKernels();

    private static final VectorSpecies<Float> F = Lanes.F;
    private static final VectorSpecies<Integer> I = Lanes.I;
    private static final VectorSpecies<Short> S = Lanes.S;
    private static final int L = Lanes.COUNT;
    private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED;
    /** Vectors in a full panel, and in a tile of values. */
    private static final int VECTORS = L >= 16 ? 4 : 2;
    /** Rows of a full panel. */
    static final int PANEL = VECTORS * L;
    /** Values that are read at once. */
    private static final int RUN = 64;

    // 2^f for f in [-1/2, 1/2] as 1 + f * (C1 + ... + C6 f^5): the polynomial of least relative error, 2^-28.9, rounded.
    private static final float C1 = 0x1.62e43p-1f;
    private static final float C2 = 0x1.ebfbdcp-3f;
    private static final float C3 = 0x1.c6aee8p-5f;
    private static final float C4 = 0x1.3b2d4cp-7f;
    private static final float C5 = 0x1.5f3e52p-10f;
    private static final float C6 = 0x1.41fbbcp-13f;
    /** Added to x it rounds to an integer n, and leaves n + 127, the exponent of 2^n, in the lowest bits. */
    private static final float ROUND = 0x1.8p23f + 127;
    /** Below this 2^x is taken as 0: a weight of 2^-126 against another one of 1. */
    private static final float LEAST = -126;

    private static final int MAGNITUDES = 0x7F7F_7F7F;
    /** Added to the magnitude of an E4M3 code, it sets the top bit if that is a NaN. */
    private static final int NAN_PROBE = 0x0101_0101;
    private static final int SIGNS = 0x8080_8080;
    /** E4M3 in the top byte of an int, shifted right by 4, has these bits of an FP32, too small by 2^120. */
    private static final int CODE_MASK = 0x87F0_0000;

    private VectorAttentionKernels() {}

    @Override
    public int lanes() {
        return L;
    }

    @Override
    public int panel() {
        return PANEL;
    }

    @Override
    public int valueStep() {
        return PANEL;
    }

    /** Of 4 L codes, each lane of a vector of ints holds 4: their j-th ones are decoded together. */
    @Override
    public int codePlace(int d) {
        int group = d / (4 * L) * (4 * L);
        int q = d - group;
        return group + q % 4 * L + q / 4;
    }

    @Override
    public void scores(float[] q, int qi, int width, int dims, float[] k, int keys, float[] s) {
        for (int d = 0; d < dims; d += BLOCK) {
            int n = Math.min(BLOCK, dims - d);
            int ki = d / BLOCK * BLOCK_STRIDE;
            if (VECTORS == 2) {
                narrowScores(q, qi + d * width, width / L, n, k, ki, keys, s);
            } else {
                scores(q, qi + d * width, width / L, n, k, ki, keys, s);
            }
        }
    }

    private static void scores(float[] q, int qi, int vectors, int dims, float[] k, int ki, int keys, float[] s) {
        switch (vectors) {
            case 4 -> {
                for (int j = 0; j < keys; j += 6) {
                    AttentionTiles.scores4x6(q, qi, k, ki + j * BLOCK, dims, s, j * PANEL);
                }
            }
            case 3 -> {
                for (int j = 0; j < keys; j += 8) {
                    AttentionTiles.scores3x8(q, qi, k, ki + j * BLOCK, dims, s, j * PANEL);
                }
            }
            case 2 -> {
                for (int j = 0; j < keys; j += 12) {
                    AttentionTiles.scores2x12(q, qi, k, ki + j * BLOCK, dims, s, j * PANEL);
                }
            }
            default -> {
                for (int j = 0; j < keys; j += 24) {
                    AttentionTiles.scores1x24(q, qi, k, ki + j * BLOCK, dims, s, j * PANEL);
                }
            }
        }
    }

    private static void narrowScores(float[] q, int qi, int vectors, int dims, float[] k, int ki, int keys,
            float[] s) {
        if (vectors == 2) {
            for (int j = 0; j < keys; j += 4) {
                AttentionNarrowTiles.scores2x4(q, qi, k, ki + j * BLOCK, dims, s, j * PANEL);
            }
        } else {
            for (int j = 0; j < keys; j += 8) {
                AttentionNarrowTiles.scores1x8(q, qi, k, ki + j * BLOCK, dims, s, j * PANEL);
            }
        }
    }

    @Override
    public void mask(float[] s, int width, int keys, int firstKey, int[] first, int[] end, int row) {
        for (int v = 0; v < width; v += L) {
            maskRows(s, v, keys, firstKey, first, end, row + v);
        }
    }

    private static void maskRows(float[] s, int si, int keys, int firstKey, int[] first, int[] end,
            int row) {
        IntVector from = IntVector.fromArray(I, first, row);
        IntVector to = IntVector.fromArray(I, end, row);
        FloatVector none = FloatVector.broadcast(F, Float.NEGATIVE_INFINITY);
        for (int j = 0; j < keys; j++) {
            int key = firstKey + j;
            VectorMask<Integer> seen = from.compare(VectorOperators.LE, key).and(to.compare(VectorOperators.GT, key));
            int at = si + j * PANEL;
            none.blend(FloatVector.fromArray(F, s, at), seen.cast(F)).intoArray(s, at);
        }
    }

    @Override
    public void weights(float[] s, int width, int keys, float factor, float[] max, float[] sum, float[] alpha,
            int row) {
        for (int v = 0; v < width; v += L) {
            rowWeights(s, v, keys, factor, max, sum, alpha, row + v);
        }
    }

    private static void rowWeights(float[] s, int si, int keys, float factor, float[] max, float[] sum,
            float[] alpha, int row) {
        FloatVector old = FloatVector.fromArray(F, max, row);
        FloatVector m = old;
        for (int j = 0; j < keys; j++) {
            FloatVector x = FloatVector.fromArray(F, s, si + j * PANEL);
            m = m.blend(x, x.compare(VectorOperators.GT, m)); // a NaN is not greater
        }
        m.intoArray(max, row);
        FloatVector reference = m.blend(0f, m.compare(VectorOperators.EQ, Float.NEGATIVE_INFINITY));
        // One line more: the old maximum becomes what the old sums are multiplied by.
        old.intoArray(s, si + keys * PANEL);
        FloatVector total = FloatVector.zero(F);
        FloatVector weight = FloatVector.zero(F);
        for (int j = 0; j <= keys; j++) {
            total = total.add(weight);
            int at = si + j * PANEL;
            FloatVector x = FloatVector.fromArray(F, s, at).sub(reference).mul(factor);
            FloatVector shifted = x.add(ROUND);
            FloatVector f = x.sub(shifted.sub(ROUND));
            FloatVector y = f.fma(FloatVector.broadcast(F, C6), FloatVector.broadcast(F, C5));
            y = y.fma(f, FloatVector.broadcast(F, C4));
            y = y.fma(f, FloatVector.broadcast(F, C3));
            y = y.fma(f, FloatVector.broadcast(F, C2));
            y = y.fma(f, FloatVector.broadcast(F, C1));
            y = y.fma(f, FloatVector.broadcast(F, 1f));
            // A product, not a sum of bits, so that a NaN stays one.
            weight = y.mul(shifted.reinterpretAsInts().lanewise(LSHL, 23).reinterpretAsFloats())
                    .blend(0f, x.compare(VectorOperators.LT, LEAST));
            weight.intoArray(s, at);
        }
        FloatVector sums = FloatVector.fromArray(F, sum, row);
        sums.fma(weight, total).intoArray(sum, row);
        // Sums of nothing need not be multiplied.
        weight.blend(1f, sums.compare(VectorOperators.EQ, 0f)).intoArray(alpha, row);
    }

    @Override
    public void values(float[] p, int rows, float[] v, int keys, float[] o, int oi, int pitch) {
        for (int d = 0; d < pitch; d += PANEL) {
            int vi = d / BLOCK * BLOCK_STRIDE + d % BLOCK;
            int to = oi + d;
            int r = 0;
            if (VECTORS == 2) {
                for (; r < rows; r += 4) {
                    AttentionNarrowTiles.values2x4(p, r, v, vi, keys, o, to + r * pitch, pitch);
                }
                continue;
            }
            for (; r + 6 <= rows; r += 6) {
                AttentionTiles.values4x6(p, r, v, vi, keys, o, to + r * pitch, pitch);
            }
            for (; r < rows; r += 4) {
                AttentionTiles.values4x4(p, r, v, vi, keys, o, to + r * pitch, pitch);
            }
        }
    }

    @Override
    public boolean finite(float[] v, int keys, int dims) {
        for (int d = 0; d < dims; d += BLOCK) {
            int n = Math.min(BLOCK, dims - d);
            for (int j = 0; j < keys; j++) {
                if (!finiteRow(v, d / BLOCK * BLOCK_STRIDE + j * BLOCK, n)) {
                    return false;
                }
            }
        }
        return true;
    }

    private static boolean finiteRow(float[] v, int at, int n) {
        int whole = n - n % L;
        FloatVector probe = FloatVector.zero(F);
        for (int i = 0; i < whole; i += L) {
            // 0 times what is not finite is a NaN, and stays one.
            probe = FloatVector.fromArray(F, v, at + i).fma(FloatVector.zero(F), probe);
        }
        boolean finite = !probe.test(VectorOperators.IS_NAN).anyTrue();
        for (int i = whole; i < n; i++) {
            finite &= Float.isFinite(v[at + i]);
        }
        return finite;
    }

    @Override
    public void scale(float[] x, int at, int n, float factor) {
        int i = 0;
        for (; i + L <= n; i += L) {
            FloatVector.fromArray(F, x, at + i).mul(factor).intoArray(x, at + i);
        }
        for (; i < n; i++) {
            x[at + i] *= factor;
        }
    }

    @Override
    public void addScaled(float factor, float[] x, int xi, float[] y, int yi, int n) {
        int i = 0;
        FloatVector f = FloatVector.broadcast(F, factor);
        for (; i + L <= n; i += L) {
            FloatVector.fromArray(F, x, xi + i).fma(f, FloatVector.fromArray(F, y, yi + i)).intoArray(y, yi + i);
        }
        for (; i < n; i++) {
            y[yi + i] = Math.fma(factor, x[xi + i], y[yi + i]);
        }
    }

    // ---------------------------------------------------------------------------------------------- memory

    @Override
    public void load(long address, boolean bf16, int n, float[] to, int at) {
        int whole = n - n % L;
        if (bf16) {
            for (int i = 0; i < whole; i += L) {
                ((IntVector) ShortVector.fromMemorySegment(S, ALL, address + 2L * i, LE)
                        .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16)
                        .reinterpretAsFloats().intoArray(to, at + i);
            }
            for (int i = whole; i < n; i++) {
                to[at + i] = BFloat16.toFloat(ALL.get(I16, address + 2L * i));
            }
        } else {
            for (int i = 0; i < whole; i += L) {
                FloatVector.fromMemorySegment(F, ALL, address + 4L * i, LE).intoArray(to, at + i);
            }
            for (int i = whole; i < n; i++) {
                to[at + i] = ALL.get(F32, address + 4L * i);
            }
        }
    }

    @Override
    public void loadKey(long address, boolean bf16, int n, float[] k, int key, int firstDim) {
        // Whole runs of 64 by a loop of its own for each, which C2 unrolls: a loop over single vectors takes four times
        // as long, since it finds its place in the chunk for each.
        int whole = firstDim % RUN == 0 ? n / RUN * RUN : 0;
        for (int i = 0; i < whole; i += RUN) {
            int d = firstDim + i;
            int to = d / BLOCK * BLOCK_STRIDE + key * BLOCK + d % BLOCK;
            if (bf16) {
                loadRunBf16(address + 2L * i, k, to);
            } else {
                loadRun(address + 4L * i, k, to);
            }
        }
        for (int i = whole; i < n; i++) {
            k[AttentionKernels.at(key, firstDim + i)] =
                    bf16 ? BFloat16.toFloat(ALL.get(I16, address + 2L * i)) : ALL.get(F32, address + 4L * i);
        }
    }

    private static void loadRunBf16(long address, float[] to, int at) {
        for (int i = 0; i < RUN; i += L) {
            ((IntVector) ShortVector.fromMemorySegment(S, ALL, address + 2L * i, LE)
                    .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0)).lanewise(LSHL, 16)
                    .reinterpretAsFloats().intoArray(to, at + i);
        }
    }

    private static void loadRun(long address, float[] to, int at) {
        for (int i = 0; i < RUN; i += L) {
            FloatVector.fromMemorySegment(F, ALL, address + 4L * i, LE).intoArray(to, at + i);
        }
    }

    @Override
    public void loadCodes(long codes, long scales, int n, float[] k, int key) {
        IntVector seen = IntVector.zero(I);
        boolean special = false;
        for (int i = 0; i < n; i += 4 * L) {
            float scale = ALL.get(F32, scales + i / BLOCK * 4L);
            special |= !(Math.abs(scale) < 128); // times 2^120 it would be infinite, or is a NaN
            float factor = scale * 0x1p120f;
            int to = i / BLOCK * BLOCK_STRIDE + key * BLOCK + i % BLOCK;
            IntVector w = IntVector.fromMemorySegment(I, ALL, codes + i, LE);
            seen = seen.or(w.and(MAGNITUDES).add(NAN_PROBE));
            w.lanewise(LSHL, 24).lanewise(ASHR, 4).and(CODE_MASK).reinterpretAsFloats().mul(factor).intoArray(k, to);
            w.lanewise(LSHL, 16).lanewise(ASHR, 4).and(CODE_MASK).reinterpretAsFloats().mul(factor)
                    .intoArray(k, to + L);
            w.lanewise(LSHL, 8).lanewise(ASHR, 4).and(CODE_MASK).reinterpretAsFloats().mul(factor)
                    .intoArray(k, to + 2 * L);
            w.lanewise(ASHR, 4).and(CODE_MASK).reinterpretAsFloats().mul(factor).intoArray(k, to + 3 * L);
        }
        if (special || (seen.reduceLanes(OR) & SIGNS) != 0) {
            CachedKeys.loadCodes(this, codes, scales, n, k, key);
        }
    }

    @Override
    public void store(float[] from, int at, int n, long address, boolean bf16) {
        int i = 0;
        if (bf16) {
            for (; i + L <= n; i += L) {
                FloatVector x = FloatVector.fromArray(F, from, at + i);
                IntVector bits = x.reinterpretAsInts();
                IntVector rounded = bits.add(bits.lanewise(LSHR, 16).and(1)).add(0x7FFF).lanewise(LSHR, 16);
                IntVector nan = bits.lanewise(LSHR, 16).and(0x8000).or(0x7FC0);
                rounded = rounded.blend(nan, x.test(VectorOperators.IS_NAN).cast(I));
                rounded.convertShape(VectorOperators.I2S, S, 0).reinterpretAsShorts()
                        .intoMemorySegment(ALL, address + 2L * i, LE);
            }
            for (; i < n; i++) {
                ALL.set(I16, address + 2L * i, BFloat16.fromFloat(from[at + i]));
            }
        } else {
            for (; i + L <= n; i += L) {
                FloatVector.fromArray(F, from, at + i).intoMemorySegment(ALL, address + 4L * i, LE);
            }
            for (; i < n; i++) {
                ALL.set(F32, address + 4L * i, from[at + i]);
            }
        }
    }
}
