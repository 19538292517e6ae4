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

    /** Used again by its thread, so that a call leaves nothing to the garbage collector. */
    private static final ThreadLocal<Swiglu> MINE = ThreadLocal.withInitial(Swiglu::new);

    private SwigluKernels kernels = ScalarSwigluKernels.KERNELS;
    private long gates;
    private long rowBytes;
    private long halfBytes;
    /** 0 without weights. */
    private long weights;
    private long weightsRow;
    private long codes;
    private long codesRow;
    private long scales;
    private long scalesRow;
    private long scalesColumn;
    private boolean e8m0;
    private boolean powerOfTwo;
    private int n;
    private int rows;
    /** Rows of a task. */
    private int share;
    private final CpuPool.Task task = this::rows;

    private Swiglu() {}

    private void set(SwigluKernels kernels, Tensor gateUp, @Nullable Tensor weights, ScaledTensor out) {
        this.kernels = kernels;
        this.weights = weights == null ? 0 : weights.address();
        weightsRow = weights == null ? 0 : Float.BYTES * weights.stride(0);
        gates = gateUp.address();
        rowBytes = Float.BYTES * gateUp.stride(0);
        halfBytes = Float.BYTES * (gateUp.dim(1) / 2);
        codes = out.codes().address();
        codesRow = out.codes().stride(0);
        int width = out.scales().dtype().byteSize();
        scales = out.scales().address();
        scalesRow = width * out.scales().stride(0);
        scalesColumn = width * out.scales().stride(1);
        e8m0 = out.scales().dtype() == DType.F8_E8M0;
        powerOfTwo = out.scaling().format().isPowerOfTwo();
        n = Math.toIntExact(out.columns());
        rows = Math.toIntExact(out.rows());
        share = rows < MANY_ROWS ? 1 : TASK_ROWS;
    }

    static void run(SwigluKernels kernels, Tensor gateUp, @Nullable Tensor weights, ScaledTensor out, CpuPool pool) {
        if (out.rows() == 0 || out.columns() == 0) {
            return;
        }
        Swiglu mine = MINE.get();
        mine.set(kernels, gateUp, weights, out);
        pool.run(Math.ceilDiv(mine.rows, mine.share), mine.task);
        Reference.reachabilityFence(gateUp);
        Reference.reachabilityFence(weights);
        Reference.reachabilityFence(out);
    }

    private void rows(int index) {
        for (int r = index * share, end = Math.min(rows, r + share); r < end; r++) {
            row(r);
        }
    }

    private void row(int r) {
        float[][] mine = ROW.get();
        if (mine[0].length < n) {
            mine[0] = new float[n];
        }
        float[] h = mine[0];
        float weight = weights == 0 ? 1 : ALL.get(ValueLayout.JAVA_FLOAT_UNALIGNED, weights + r * weightsRow);
        long gate = gates + r * rowBytes;
        kernels.activate(gate, gate + halfBytes, weight, h, n);
        for (int c = 0, block = 0; c < n; c += BLOCK, block++) {
            int count = Math.min(BLOCK, n - c);
            long to = codes + r * codesRow + c;
            int max = kernels.maxBits(h, c, count);
            float amax = Float.intBitsToFloat(Math.max(max, LEAST_AMAX));
            float scale = amax / Fp8Codec.E4M3_MAX;
            if (powerOfTwo) {
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
        if (e8m0) {
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
