package dev.octet.moe.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaledTensor;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;

/**
 * SwiGLU and the quantisation of its result, for both CPU backends: a row is read once, its activations stay in L1, and
 * only codes and scales are written.
 *
 * <p>Schedule: a task is a row, or several of many. No row is written by two tasks.
 */
final class Swiglu {
    private static final int BLOCK = Granularity.BLOCK;
    /** With so many rows a task has several: scales of neighbouring rows lie in one cache line. */
    private static final int MANY_ROWS = 64;
    private static final int TASK_ROWS = 16;
    private static final int INFINITY = 0x7F80_0000;
    private static final int LEAST_AMAX = Float.floatToRawIntBits(1e-4f);
    private static final byte NAN_CODE = 0x7F;

    private static final ThreadLocal<float[][]> ROW = ThreadLocal.withInitial(() -> new float[1][0]);

    private final SwigluKernels kernels;
    private final ScaledTensor out;
    private final long gates;
    private final long rowBytes;
    private final long halfBytes;
    private final @Nullable Tensor weights;
    private final long codes;
    private final long codesRow;
    private final long scales;
    private final long scalesRow;
    private final long scalesColumn;
    private final int n;

    private Swiglu(SwigluKernels kernels, Tensor gateUp, @Nullable Tensor weights, ScaledTensor out) {
        this.kernels = kernels;
        this.out = out;
        this.weights = weights;
        gates = gateUp.address();
        rowBytes = Float.BYTES * gateUp.stride(0);
        halfBytes = Float.BYTES * (gateUp.dim(1) / 2);
        codes = out.codes().address();
        codesRow = out.codes().stride(0);
        int width = out.scales().dtype().byteSize();
        scales = out.scales().address();
        scalesRow = width * out.scales().stride(0);
        scalesColumn = width * out.scales().stride(1);
        n = Math.toIntExact(out.columns());
    }

    static void run(SwigluKernels kernels, Tensor gateUp, @Nullable Tensor weights, ScaledTensor out, CpuPool pool) {
        if (out.rows() == 0 || out.columns() == 0) {
            return;
        }
        Swiglu all = new Swiglu(kernels, gateUp, weights, out);
        int rows = Math.toIntExact(out.rows());
        int share = rows < MANY_ROWS ? 1 : TASK_ROWS;
        pool.run(Math.ceilDiv(rows, share), task -> {
            for (int r = task * share, end = Math.min(rows, r + share); r < end; r++) {
                all.row(r);
            }
        });
        Reference.reachabilityFence(gateUp);
        Reference.reachabilityFence(weights);
        Reference.reachabilityFence(out);
    }

    private void row(int r) {
        float[][] mine = ROW.get();
        if (mine[0].length < n) {
            mine[0] = new float[n];
        }
        float[] h = mine[0];
        Tensor w = weights;
        float weight = w == null ? 1
                : ALL.get(ValueLayout.JAVA_FLOAT_UNALIGNED, w.address() + Float.BYTES * r * w.stride(0));
        long gate = gates + r * rowBytes;
        kernels.activate(gate, gate + halfBytes, weight, h, n);
        for (int c = 0, block = 0; c < n; c += BLOCK, block++) {
            int count = Math.min(BLOCK, n - c);
            long to = codes + r * codesRow + c;
            int max = kernels.maxBits(h, c, count);
            float amax = Float.intBitsToFloat(Math.max(max, LEAST_AMAX));
            float scale = amax / Fp8Codec.E4M3_MAX;
            if (out.scaling().format().isPowerOfTwo()) {
                scale = Fp8Codec.ceilPowerOfTwo(scale);
            }
            store(r, block, scale);
            if (max < INFINITY) {
                kernels.encode(h, c, 1 / scale, to, count);
            } else {
                encodeNonFinite(h, c, max > INFINITY, to, count);
            }
        }
    }

    private void store(int row, int block, float scale) {
        long at = scales + row * scalesRow + block * scalesColumn;
        if (out.scales().dtype() == DType.F8_E8M0) {
            ALL.set(ValueLayout.JAVA_BYTE, at, Fp8Codec.encodeE8M0(scale));
        } else {
            ALL.set(ValueLayout.JAVA_FLOAT_UNALIGNED, at, scale);
        }
    }

    /** With a NaN all codes are NaN; else infinities are, and finite values zeros with their signs. */
    private static void encodeNonFinite(float[] h, int at, boolean nan, long to, int count) {
        for (int i = 0; i < count; i++) {
            float x = h[at + i];
            byte code = nan || !Float.isFinite(x) ? NAN_CODE : (byte) (Float.floatToRawIntBits(x) >>> 24 & 0x80);
            ALL.set(ValueLayout.JAVA_BYTE, to + i, code);
        }
    }
}
