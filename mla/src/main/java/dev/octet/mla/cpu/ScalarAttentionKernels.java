package dev.octet.mla.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.BFloat16;
import java.lang.foreign.ValueLayout;

/** {@link AttentionKernels} in plain Java, in loops that C2 turns into vectors by itself where it can. */
final class ScalarAttentionKernels implements AttentionKernels {
    static final ScalarAttentionKernels KERNELS = new ScalarAttentionKernels();

    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED;
    private static final int PANEL = 64;
    private static final double LN_2 = Math.log(2);

    private ScalarAttentionKernels() {}

    @Override
    public int lanes() {
        return 4;
    }

    @Override
    public int panel() {
        return PANEL;
    }

    @Override
    public int valueStep() {
        return 4;
    }

    @Override
    public int codePlace(int d) {
        return d;
    }

    @Override
    public void scores(float[] q, int qi, int width, int dims, float[] k, int keys, float[] s) {
        for (int j = 0; j < keys; j++) {
            for (int d = 0; d < dims; d++) {
                multiply(k[AttentionKernels.at(j, d)], q, qi + d * width, s, j * PANEL, width);
            }
        }
    }

    private static void multiply(float factor, float[] x, int xi, float[] y, int yi, int n) {
        for (int i = 0; i < n; i++) {
            y[yi + i] += factor * x[xi + i];
        }
    }

    @Override
    public void mask(float[] s, int width, int keys, int firstKey, int[] first, int[] end, int row) {
        for (int j = 0; j < keys; j++) {
            int key = firstKey + j;
            for (int r = 0; r < width; r++) {
                if (key < first[row + r] || key >= end[row + r]) {
                    s[j * PANEL + r] = Float.NEGATIVE_INFINITY;
                }
            }
        }
    }

    @Override
    public void weights(float[] s, int width, int keys, float factor, float[] max, float[] sum, float[] alpha,
            int row) {
        for (int r = 0; r < width; r++) {
            float old = max[row + r];
            float m = old;
            for (int j = 0; j < keys; j++) {
                float x = s[j * PANEL + r];
                if (x > m) { // a NaN is not
                    m = x;
                }
            }
            max[row + r] = m;
            float reference = m == Float.NEGATIVE_INFINITY ? 0 : m;
            float total = 0;
            for (int j = 0; j < keys; j++) {
                float weight = exp2((s[j * PANEL + r] - reference) * factor);
                s[j * PANEL + r] = weight;
                total += weight;
            }
            float decay = sum[row + r] == 0 ? 1 : exp2((old - reference) * factor);
            alpha[row + r] = decay;
            sum[row + r] = sum[row + r] * decay + total;
        }
    }

    private static float exp2(float x) {
        return (float) Math.exp(x * LN_2);
    }

    @Override
    public void values(float[] p, int rows, float[] v, int keys, float[] o, int oi, int pitch) {
        for (int d = 0; d < pitch; d += BLOCK) {
            int n = Math.min(BLOCK, pitch - d);
            int vi = d / BLOCK * BLOCK_STRIDE;
            for (int r = 0; r < rows; r++) {
                for (int j = 0; j < keys; j++) {
                    multiply(p[j * PANEL + r], v, vi + j * BLOCK, o, oi + r * pitch + d, n);
                }
            }
        }
    }

    @Override
    public boolean finite(float[] v, int keys, int dims) {
        boolean finite = true;
        for (int j = 0; j < keys; j++) {
            for (int d = 0; d < dims; d++) {
                finite &= Float.isFinite(v[AttentionKernels.at(j, d)]);
            }
        }
        return finite;
    }

    @Override
    public void scale(float[] x, int at, int n, float factor) {
        for (int i = at; i < at + n; i++) {
            x[i] *= factor;
        }
    }

    @Override
    public void addScaled(float factor, float[] x, int xi, float[] y, int yi, int n) {
        multiply(factor, x, xi, y, yi, n);
    }

    @Override
    public void load(long address, boolean bf16, int n, float[] to, int at) {
        for (int i = 0; i < n; i++) {
            to[at + i] = get(address, bf16, i);
        }
    }

    private static float get(long address, boolean bf16, int i) {
        return bf16 ? BFloat16.toFloat(ALL.get(I16, address + 2L * i)) : ALL.get(F32, address + 4L * i);
    }

    @Override
    public void loadKey(long address, boolean bf16, int n, float[] k, int key, int firstDim) {
        for (int i = 0; i < n; i++) {
            k[AttentionKernels.at(key, firstDim + i)] = get(address, bf16, i);
        }
    }

    @Override
    public void loadCodes(long codes, long scales, int n, float[] k, int key) {
        CachedKeys.loadCodes(this, codes, scales, n, k, key);
    }

    @Override
    public void store(float[] from, int at, int n, long address, boolean bf16) {
        for (int i = 0; i < n; i++) {
            if (bf16) {
                ALL.set(I16, address + 2L * i, BFloat16.fromFloat(from[at + i]));
            } else {
                ALL.set(F32, address + 4L * i, from[at + i]);
            }
        }
    }
}
