package dev.octet.fp8;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Execution;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.TensorAccess;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.spi.Fp8Backend;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The FP8 operations. {@link #auto()} takes the implementation from the tensors' device, which is what callers want;
 * {@link #on(String)} names one, to compare.
 *
 * <p>Arguments are checked before anything is written: an operation that throws {@link IllegalArgumentException} or
 * {@link IllegalStateException} has left its outputs as they were. The latter comes of closed tensors or pools.
 * Instances are immutable and safe for use by several threads; so are the operations, on different outputs. Results do
 * not depend on the number of threads, to the bit.
 */
public final class Fp8 {
    private static final Fp8 AUTO = new Fp8(null, null);

    private final @Nullable Fp8Backend backend;
    private final @Nullable Execution execution;

    private Fp8(@Nullable Fp8Backend backend, @Nullable Execution execution) {
        this.backend = backend;
        this.execution = execution;
    }

    /** {@return the operations on the best backend for the device of the tensors they are called with} */
    public static Fp8 auto() {
        return AUTO;
    }

    /**
     * {@return the operations on one backend}
     *
     * @param backend its name: {@code native}, {@code cpu}, {@code scalar} or {@code reference}, or what another module
     *     provides
     * @throws IllegalArgumentException if there is no such backend or it can't run here; the message has the reason
     */
    public static Fp8 on(String backend) {
        return new Fp8(Fp8Backends.FOUND.named(backend), null);
    }

    /** {@return the names of all backends found, whether they can run here or not} */
    public static Set<String> backends() {
        return Fp8Backends.FOUND.names();
    }

    /**
     * {@return the same operations on another pool of CPU threads}
     *
     * @param pool the threads; must stay open while operations run
     */
    public Fp8 with(CpuPool pool) {
        return new Fp8(backend, new Execution(pool));
    }

    /**
     * Gets a device ready: on a GPU, compiles and loads the kernels, several at a time, so that no first call of an
     * operation waits for a compiler. Those of the matrix product are the ones that DeepSeek-V3's shapes take; another
     * shape may still compile one. What was compiled is kept on disk, so this takes seconds once on a machine, then
     * milliseconds. On the CPU there is nothing to do.
     *
     * @param device which
     * @throws IllegalArgumentException if there is no such device or the backend does not serve it
     * @throws IllegalStateException if a kernel has to be compiled and there is no NVRTC; the message has the reason
     */
    public void warmUp(Device device) {
        backendFor(device).warmUp(device);
    }

    private Fp8Backend backendFor(Device device) {
        return Fp8Backends.FOUND.on(device, backend);
    }

    private Execution execution() {
        Execution e = execution;
        return e != null ? e : Execution.shared();
    }

    /** {@return how to get these operations, pool aside} */
    @Override
    public String toString() {
        return backend == null ? "Fp8.auto()" : "Fp8.on(\"" + backend.name() + "\")";
    }

    // ---------------------------------------------------------------------------------------------- cast

    /**
     * Converts element by element between a float type and FP8 (OCP 8-bit floating point), without scales: to FP8 with
     * round to nearest, ties to even, gradual underflow and signed zeros (a BF16 or F16 source is widened first, which
     * is exact); from FP8 exactly, since every FP8 value is an F32, BF16 and F16 value.
     *
     * @param source F32, BF16 or F16, or FP8; any shape and strides
     * @param target FP8, or F32, BF16 or F16; same shape; all of it is written
     * @param overflow what happens to values that are too large for FP8; see {@link Overflow}
     * @throws IllegalArgumentException if shapes or devices differ or the types are not one float and one FP8
     */
    public void cast(Tensor source, Tensor target, Overflow overflow) {
        Objects.requireNonNull(overflow, "overflow");
        boolean down = source.dtype().isFloat() && target.dtype().isFp8();
        boolean up = source.dtype().isFp8() && target.dtype().isFloat();
        if (!down && !up) {
            throw new IllegalArgumentException("source is " + source.dtype() + " and target " + target.dtype()
                    + "; one must be F32, BF16 or F16, the other F8_E4M3 or F8_E5M2");
        }
        requireShape("target", target, source.shape());
        requireDevice("target", target, source.device());
        TensorAccess.readable("source", source);
        TensorAccess.writable("target", target);
        backendFor(source.device()).cast(source, target, overflow, execution());
    }

    // ---------------------------------------------------------------------------------------------- quantise

    /**
     * Quantises a matrix (DeepSeek-V3 &sect;3.3.2, rounded as DeepGEMM rounds). In each group of elements that share a
     * scale:
     * {@snippet lang=text :
     * amax  = max(max |x|, 1e-4)
     * scale = amax / max        FP32 division; max = 448 for E4M3, 57344 for E5M2
     * scale = 2^ceil(log2 scale), exponent clamped to -126..127     only with a power-of-two format
     * code  = cast(x * (1 / scale))                                 FP32 division, saturating cast
     * }
     * A group with a NaN has scale NaN and NaN codes. A group with an infinity and no NaN has scale +Infinity (NaN in
     * {@link ScaleFormat#E8M0}, which has no infinity): the infinite elements become NaN codes, the finite ones zeros,
     * so that every element dequantises to NaN. NaN codes that a quantiser writes are positive, {@code 0x7F} in E4M3
     * and {@code 0x7E} in E5M2, whatever the sign of their element. Blocks cut off by an edge take their maximum over
     * what is there.
     *
     * @param source {@code [rows, columns]} of F32, BF16 or F16, of any strides
     * @param format {@link DType#F8_E4M3} or {@link DType#F8_E5M2}
     * @param scaling which elements share a scale and how scales are rounded
     * @return codes and scales that own their memory, the scales in the layout that the GEMM reads
     * @throws IllegalArgumentException if a rank or dtype does not fit
     */
    public ScaledTensor quantize(Tensor source, DType format, Scaling scaling) {
        requireMatrix("source", source);
        ScaledTensor target = ScaledTensor.allocate(source.device(), format, source.dim(0), source.dim(1), scaling);
        try {
            quantize(source, target);
            return target;
        } catch (RuntimeException | Error e) {
            target.close();
            throw e;
        }
    }

    /**
     * Quantises a matrix into memory that is there; see {@link #quantize(Tensor, DType, Scaling)}.
     *
     * @param source {@code [rows, columns]} of F32, BF16 or F16, of any strides
     * @param target codes and scales of the same shape, not overlapping the source; all of both is written
     * @throws IllegalArgumentException if a rank, shape, dtype or device does not fit
     */
    public void quantize(Tensor source, ScaledTensor target) {
        requireMatrix("source", source);
        requireFloat("source", source);
        requireShape("target.codes", target.codes(), source.shape());
        requireDevice("target", target.codes(), source.device());
        TensorAccess.readable("source", source);
        requireWritable("target.codes", "target.scales", target);
        backendFor(source.device()).quantize(source, target, execution());
    }

    /**
     * Multiplies codes by their scales in FP32 and rounds once.
     *
     * @param source {@code [rows, columns]}
     * @param dtype {@link DType#F32}, {@link DType#BF16} or {@link DType#F16}
     * @return a contiguous matrix that owns its memory
     * @throws IllegalArgumentException if the dtype does not fit
     */
    public Tensor dequantize(ScaledTensor source, DType dtype) {
        if (!dtype.isFloat()) {
            throw new IllegalArgumentException("dtype is " + dtype + ", it must be F32, BF16 or F16");
        }
        Tensor target = Tensor.allocate(source.device(), dtype, source.codes().shape());
        try {
            dequantize(source, target);
            return target;
        } catch (RuntimeException | Error e) {
            target.close();
            throw e;
        }
    }

    /**
     * Multiplies codes by their scales in FP32 and rounds once, into memory that is there.
     *
     * @param source {@code [rows, columns]}
     * @param target F32, BF16 or F16 of the same shape, of any strides, not overlapping the source; all of it is
     *     written
     * @throws IllegalArgumentException if a shape, dtype or device does not fit
     */
    public void dequantize(ScaledTensor source, Tensor target) {
        requireFloat("target", target);
        requireShape("target", target, source.codes().shape());
        requireDevice("target", target, source.device());
        requireReadable("source.codes", "source.scales", source);
        TensorAccess.writable("target", target);
        backendFor(source.device()).dequantize(source, target, execution());
    }

    /**
     * Dequantises to FP32 and quantises again, for example 1x128 activations to 128x1 for the weight gradient
     * (DeepSeek-V3 &sect;3.5.2). With power-of-two scales on both sides only values below the new group's subnormal
     * step change.
     *
     * @param source {@code [rows, columns]}
     * @param format {@link DType#F8_E4M3} or {@link DType#F8_E5M2}
     * @param scaling the new scaling
     * @return codes and scales that own their memory
     * @throws IllegalArgumentException if the format is not FP8
     */
    public ScaledTensor requantize(ScaledTensor source, DType format, Scaling scaling) {
        ScaledTensor target = ScaledTensor.allocate(source.device(), format, source.rows(), source.columns(), scaling);
        try {
            requantize(source, target);
            return target;
        } catch (RuntimeException | Error e) {
            target.close();
            throw e;
        }
    }

    /**
     * Dequantises to FP32 and quantises again into memory that is there.
     *
     * @param source {@code [rows, columns]}
     * @param target codes and scales of the same shape, not overlapping the source; all of both is written
     * @throws IllegalArgumentException if a shape or device does not fit
     */
    public void requantize(ScaledTensor source, ScaledTensor target) {
        requireShape("target.codes", target.codes(), source.codes().shape());
        requireDevice("target", target.codes(), source.device());
        requireReadable("source.codes", "source.scales", source);
        requireWritable("target.codes", "target.scales", target);
        backendFor(source.device()).requantize(source, target, execution());
    }

    // ---------------------------------------------------------------------------------------------- GEMM

    /**
     * {@code D = A * B^T} with fine-grained scales; see {@link #gemm(ScaledTensor, ScaledTensor, Tensor, Epilogue)}.
     *
     * @param a {@code [M, K]}
     * @param b {@code [N, K]}
     * @param dtype the type of the result, {@link DType#F32} or {@link DType#BF16}
     * @return {@code [M, N]}, contiguous, owning its memory
     * @throws IllegalArgumentException if a shape, dtype, scaling or device does not fit
     */
    public Tensor gemm(ScaledTensor a, ScaledTensor b, DType dtype) {
        requireGemm(a, b);
        requireOutput("dtype", dtype);
        Tensor d = Tensor.allocate(a.device(), dtype, Shape.of(a.rows(), b.rows()));
        try {
            gemm(a, b, d, Epilogue.NONE);
            return d;
        } catch (RuntimeException | Error e) {
            d.close();
            throw e;
        }
    }

    /**
     * {@code D = epilogue(A * B^T)} with fine-grained scales (DeepSeek-V3 &sect;3.3.2):
     * {@snippet lang=text :
     * sum[m,n] = SUM over blocks b of 128 along K:  sA[m,b] * sB[n,b] * SUM over k in b:  A[m,k] * B[n,k]
     * }
     * The inner sums are FP32 or better, {@code sA*sB} is rounded once to FP32, blocks are added in FP32 in increasing
     * order, and the final cast rounds once. K need not be a multiple of 128. With {@code K == 0} the sums are 0; with
     * {@code M == 0} or {@code N == 0} nothing is done. A NaN in a row of A or its scales makes that row of the sums
     * NaN, a NaN in a row of B that column.
     *
     * <table>
     * <caption>Supported pairs of granularities</caption>
     * <tr><th>A</th><th>B</th><th>use</th></tr>
     * <tr><td>1x128</td><td>128x128</td><td>forward; and the input gradient {@code dX = dY * W}, with
     * {@code w.transpose()} as B</td></tr>
     * <tr><td>1x128</td><td>1x128</td><td>the weight gradient {@code dW = dY^T * X}, with two matrices quantised 128x1
     * and transposed</td></tr>
     * <tr><td>ROW</td><td>ROW</td><td>one scale a token and a channel</td></tr>
     * <tr><td>TENSOR</td><td>TENSOR</td><td>one scale a matrix</td></tr>
     * </table>
     *
     * @param a {@code [M, K]}, E4M3 or E5M2, of any strides
     * @param b {@code [N, K]}, E4M3 or E5M2, of any strides
     * @param d {@code [M, N]} of F32 or BF16, of any strides, not overlapping A or B; all of it is written
     * @param epilogue what is done with the sums before the cast
     * @throws IllegalArgumentException if a shape, dtype, scaling or device does not fit; the message names it
     */
    public void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue) {
        requireGemm(a, b);
        requireMatrix("d", d);
        requireOutput("d", d.dtype());
        requireShape("d", d, a.rows(), b.rows());
        requireDevice("d", d, a.device());
        requireEpilogue(epilogue, a, b);
        TensorAccess.writable("d", d);
        backendFor(a.device()).gemm(a, b, d, epilogue, execution());
    }

    /**
     * {@code D = quantize(epilogue(A * B^T))}: the FP32 result is quantised with fresh 1x128 scales, without rounding
     * in between. NaN and infinity go by {@link #quantize(Tensor, DType, Scaling)}.
     *
     * @param a {@code [M, K]}
     * @param b {@code [N, K]}
     * @param d {@code [M, N]} of granularity {@link Granularity#BLOCK_1X128}; all of codes and scales is written
     * @param epilogue what is done with the sums before they are quantised
     * @throws IllegalArgumentException if a shape, dtype, scaling or device does not fit; the message names it
     */
    public void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue) {
        requireGemm(a, b);
        if (d.scaling().granularity() != Granularity.BLOCK_1X128) {
            throw new IllegalArgumentException(
                    "d has granularity " + d.scaling().granularity() + ", a GEMM writes BLOCK_1X128");
        }
        requireShape("d.codes", d.codes(), a.rows(), b.rows());
        requireDevice("d", d.codes(), a.device());
        requireEpilogue(epilogue, a, b);
        requireWritable("d.codes", "d.scales", d);
        backendFor(a.device()).gemm(a, b, d, epilogue, execution());
    }

    static void requireGemm(ScaledTensor a, ScaledTensor b) {
        if (a.columns() != b.columns()) {
            throw new IllegalArgumentException("a is " + a.codes().shape() + " and b " + b.codes().shape()
                    + "; their columns (K) must be equal");
        }
        requireDevice("b", b.codes(), a.device());
        Granularity ga = a.scaling().granularity();
        Granularity gb = b.scaling().granularity();
        boolean supported = switch (ga) {
            case BLOCK_1X128 -> gb == Granularity.BLOCK_128X128 || gb == Granularity.BLOCK_1X128;
            case ROW -> gb == Granularity.ROW;
            case TENSOR -> gb == Granularity.TENSOR;
            case BLOCK_128X1, BLOCK_128X128 -> false;
        };
        if (!supported) {
            throw new IllegalArgumentException("a has granularity " + ga + " and b " + gb
                    + "; supported are (BLOCK_1X128, BLOCK_128X128), (BLOCK_1X128, BLOCK_1X128), (ROW, ROW) and"
                    + " (TENSOR, TENSOR); a matrix quantised BLOCK_128X1 is passed as its transpose()");
        }
        requireReadable("a.codes", "a.scales", a);
        requireReadable("b.codes", "b.scales", b);
    }

    // ---------------------------------------------------------------------------------------------- grouped GEMM

    /**
     * Many products at once, of contiguous segments of rows, such as the tokens of each expert:
     * {@code D[m] = A[m] * B[g]^T} for each row m from {@code offsets[g]} to {@code offsets[g + 1] - 1}. Each segment's
     * result has the bits of {@link #gemm(ScaledTensor, ScaledTensor, Tensor, Epilogue) gemm} with that segment alone;
     * on a Hopper GPU, where K of a small product alone is split, with {@code -Doctet.fp8.cuda.splitK=false}.
     * Rows from {@code offsets[groups]} on are neither read nor written.
     *
     * @param a {@code [rows, K]}, sorted by group; of any strides
     * @param offsets {@code [groups + 1]}: the first row of each group, from 0 on, and last the end of the last group;
     *     never falling, and a group may be empty
     * @param b for each group {@code [N, K]}, of any strides; {@link ScaledTensor#split} makes the list of stacked
     *     matrices
     * @param d {@code [rows, N]} of F32 or BF16, of any strides, not overlapping A or B
     * @throws IllegalArgumentException if the offsets, a shape, dtype, scaling or device do not fit; the message names
     *     it
     */
    public void groupedGemm(ScaledTensor a, long[] offsets, List<ScaledTensor> b, Tensor d) {
        GroupedArguments.requireOffsets(offsets, a.rows(), "rows of a");
        GroupedArguments.requireGroups("offsets", offsets.length - 1, b);
        GroupedArguments.requireProducts(a, b, d);
        GroupedArguments.Segments rows = GroupedArguments.Segments.of(offsets);
        backendFor(a.device()).groupedGemm(a, rows.begins, rows.ends, b, d, execution());
    }

    /**
     * Many products at once, each of as many rows as there are in a place of a fixed size, such as the buffers that
     * tokens are received in: with {@code P = rows / groups}, {@code D[m] = A[m] * B[g]^T} for each row m from
     * {@code g * P} to {@code g * P + counts[g] - 1}. The other rows are neither read nor written. Each group's result
     * has the bits of {@link #gemm(ScaledTensor, ScaledTensor, Tensor, Epilogue) gemm} with its rows alone
     * ({@code -Doctet.fp8.cuda.splitK=false} as above).
     *
     * @param a {@code [groups * P, K]}, of any strides
     * @param counts {@code [groups]}: how many rows each group has, 0 to P
     * @param b for each group {@code [N, K]}, of any strides; {@link ScaledTensor#split} makes the list of stacked
     *     matrices
     * @param d {@code [groups * P, N]} of F32 or BF16, of any strides, not overlapping A or B
     * @throws IllegalArgumentException if the counts, a shape, dtype, scaling or device do not fit; the message names
     *     it
     */
    public void maskedGroupedGemm(ScaledTensor a, long[] counts, List<ScaledTensor> b, Tensor d) {
        GroupedArguments.requireCounts(counts, a.rows());
        GroupedArguments.requireGroups("counts", counts.length, b);
        GroupedArguments.requireProducts(a, b, d);
        GroupedArguments.Segments rows = GroupedArguments.Segments.of(counts, a.rows() / counts.length);
        backendFor(a.device()).groupedGemm(a, rows.begins, rows.ends, b, d, execution());
    }

    /**
     * Many products at once that share M and N and have each their part of K, such as the weight gradients of all
     * experts: {@code D[g] = A[:, K_g] * B[:, K_g]^T + addend[g]}, where {@code K_g} is {@code offsets[g]} to
     * {@code offsets[g + 1] - 1}. A group of no columns gives zeros, or its addend. Each group's result has the bits of
     * {@link #gemm(ScaledTensor, ScaledTensor, Tensor, Epilogue) gemm} with its columns alone
     * ({@code -Doctet.fp8.cuda.splitK=false} as above).
     *
     * @param a {@code [M, K]} with scales 1x128: {@code dy.transpose()} of gradients {@code [tokens, M]} quantised
     *     128x1
     * @param b {@code [N, K]} with scales 1x128: {@code x.transpose()} of inputs {@code [tokens, N]} quantised 128x1
     * @param offsets {@code [groups + 1]}: the first column of each group, from 0 on, and last the end of the last
     *     group; never falling; multiples of 128, so that no scale belongs to two groups, except that a group may end
     *     with K
     * @param d F32 {@code [groups, M, N]}, not overlapping A or B; all of it is written
     * @param addend F32 or BF16 {@code [groups, M, N]}, or null; it may be D itself, which then accumulates; any other
     *     overlap with D gives an undefined result
     * @throws IllegalArgumentException if the offsets, a shape, dtype, scaling or device do not fit; the message names
     *     it
     */
    public void kGroupedGemm(ScaledTensor a, ScaledTensor b, long[] offsets, Tensor d, @Nullable Tensor addend) {
        requireGemm(a, b);
        GroupedArguments.requireOffsets(offsets, a.columns(), "columns of a");
        GroupedArguments.requireKGroups(a, b, offsets, d, addend);
        backendFor(a.device()).kGroupedGemm(a, b, offsets.clone(), d, addend, execution());
    }

    private static void requireEpilogue(Epilogue e, ScaledTensor a, ScaledTensor b) {
        Tensor addend = e.addend();
        if (addend != null) {
            requireShape("epilogue.addend", addend, a.rows(), b.rows());
            requireDevice("epilogue.addend", addend, a.device());
            TensorAccess.readable("epilogue.addend", addend);
        }
        Tensor bias = e.bias();
        if (bias != null) {
            if (!bias.shape().is(b.rows())) {
                requireShape("epilogue.bias", bias, Shape.of(b.rows()));
            }
            requireDevice("epilogue.bias", bias, a.device());
            TensorAccess.readable("epilogue.bias", bias);
        }
    }

    // ---------------------------------------------------------------------------------------------- checks

    static void requireMatrix(String name, Tensor t) {
        if (t.shape().rank() != 2) {
            throw new IllegalArgumentException(name + " has shape " + t.shape() + ", it must be a matrix");
        }
    }

    private static void requireFloat(String name, Tensor t) {
        if (!t.dtype().isFloat()) {
            throw new IllegalArgumentException(name + " is " + t.dtype() + ", it must be F32, BF16 or F16");
        }
    }

    static void requireOutput(String name, DType dtype) {
        if (dtype != DType.F32 && dtype != DType.BF16) {
            throw new IllegalArgumentException(name + " is " + dtype + ", a GEMM writes F32 or BF16");
        }
    }

    static void requireShape(String name, Tensor t, Shape expected) {
        if (!t.shape().equals(expected)) {
            throw new IllegalArgumentException(name + " has shape " + t.shape() + ", it must be " + expected);
        }
    }

    static void requireShape(String name, Tensor t, long rows, long columns) {
        if (!t.shape().is(rows, columns)) {
            requireShape(name, t, Shape.of(rows, columns));
        }
    }

    static void requireDevice(String name, Tensor t, Device expected) {
        if (!t.device().equals(expected)) {
            throw new IllegalArgumentException(name + " is on " + t.device() + ", it must be on " + expected);
        }
    }

    /** Names are constants: a text made for each call would be most of what a small call allocates. */
    private static void requireReadable(String codes, String scales, ScaledTensor t) {
        TensorAccess.readable(codes, t.codes());
        TensorAccess.readable(scales, t.scales());
    }

    private static void requireWritable(String codes, String scales, ScaledTensor t) {
        TensorAccess.writable(codes, t.codes());
        TensorAccess.writable(scales, t.scales());
    }
}
