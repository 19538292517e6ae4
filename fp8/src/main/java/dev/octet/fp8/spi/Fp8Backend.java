package dev.octet.fp8.spi;

import dev.octet.core.Device;
import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.spi.Backend;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One implementation of the FP8 operations. {@link dev.octet.fp8.Fp8} checks all arguments before it calls a backend:
 * shapes, dtypes and devices fit, every tensor is open, and outputs are not empty of meaning, though any extent may be
 * 0. Tensors may have any strides.
 *
 * <p>Implementations are safe for use by several threads, and give the same bits for every pool.
 */
public interface Fp8Backend extends Backend {
    /**
     * Converts between a float type and FP8 element by element, without scales.
     *
     * @param source F32, BF16 or F16, if the target is FP8; else FP8
     * @param target FP8, or F32, BF16 or F16; same shape as the source, of any rank
     * @param overflow what happens to values that are too large for FP8
     * @param execution what to run on
     */
    void cast(Tensor source, Tensor target, Overflow overflow, Execution execution);

    /**
     * Quantises a matrix by the recipe of {@link dev.octet.fp8.Fp8#quantize}.
     *
     * @param source {@code [rows, columns]} of F32, BF16 or F16
     * @param target codes and scales to write, of the same shape
     * @param execution what to run on
     */
    void quantize(Tensor source, ScaledTensor target, Execution execution);

    /**
     * Multiplies codes by their scales in FP32 and rounds once to the target's type.
     *
     * @param source {@code [rows, columns]}
     * @param target F32, BF16 or F16, of the same shape
     * @param execution what to run on
     */
    void dequantize(ScaledTensor source, Tensor target, Execution execution);

    /**
     * Dequantises to FP32 and quantises again under another scaling, without rounding in between.
     *
     * @param source {@code [rows, columns]}
     * @param target codes and scales to write, of the same shape
     * @param execution what to run on
     */
    void requantize(ScaledTensor source, ScaledTensor target, Execution execution);

    /**
     * {@code D = epilogue(A * B^T)}, as {@link dev.octet.fp8.Fp8#gemm} defines it.
     *
     * @param a {@code [M, K]}
     * @param b {@code [N, K]}
     * @param d {@code [M, N]} of F32 or BF16
     * @param epilogue what is done with the sums
     * @param execution what to run on
     */
    void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue, Execution execution);

    /**
     * {@code D = quantize(epilogue(A * B^T))}: the FP32 result is quantised 1x128 without rounding in between.
     *
     * @param a {@code [M, K]}
     * @param b {@code [N, K]}
     * @param d codes {@code [M, N]} and scales of granularity 1x128 to write
     * @param epilogue what is done with the sums
     * @param execution what to run on
     */
    void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue, Execution execution);

    /**
     * {@code D[begins[g] to ends[g]] = A[begins[g] to ends[g]] * B[g]^T} for each group g, with the bits that
     * {@link #gemm(ScaledTensor, ScaledTensor, Tensor, Epilogue, Execution) gemm} gives each by itself. Rows of no
     * group are neither read nor written. This implementation multiplies the groups one after the other.
     *
     * @param a {@code [rows, K]}
     * @param begins the first row of each group; this array, the next and the list are the backend's until it returns
     * @param ends one past the last row of each; no two groups share a row, and a group may have none
     * @param b for each group {@code [N, K]}
     * @param d {@code [rows, N]} of F32 or BF16
     * @param execution what to run on
     */
    default void groupedGemm(ScaledTensor a, long[] begins, long[] ends, List<ScaledTensor> b, Tensor d,
            Execution execution) {
        for (int g = 0; g < begins.length; g++) {
            if (begins[g] < ends[g]) {
                gemm(a.sliceRows(begins[g], ends[g]), b.get(g), d.slice(0, begins[g], ends[g]), Epilogue.NONE,
                        execution);
            }
        }
    }

    /**
     * {@code D[g] = A[:, offsets[g] to offsets[g + 1]] * B[:, offsets[g] to offsets[g + 1]]^T + addend[g]} for each
     * group g, with the bits that {@link #gemm(ScaledTensor, ScaledTensor, Tensor, Epilogue, Execution) gemm} gives
     * each by itself. This implementation multiplies the groups one after the other.
     *
     * @param a {@code [M, K]}, with scales by blocks of 128 along K
     * @param b {@code [N, K]}, likewise
     * @param offsets where each group begins along K and, last, where the last one ends; no block of scales belongs to
     *     two groups, and a group may be empty
     * @param d {@code [groups, M, N]} of F32
     * @param addend {@code [groups, M, N]} of F32 or BF16, or null; it may be D
     * @param execution what to run on
     */
    default void kGroupedGemm(ScaledTensor a, ScaledTensor b, long[] offsets, Tensor d, @Nullable Tensor addend,
            Execution execution) {
        for (int g = 0; g < offsets.length - 1; g++) {
            Epilogue epilogue = addend == null ? Epilogue.NONE : Epilogue.NONE.withAddend(matrix(addend, g));
            gemm(a.sliceColumns(offsets[g], offsets[g + 1]), b.sliceColumns(offsets[g], offsets[g + 1]), matrix(d, g),
                    epilogue, execution);
        }
    }

    /**
     * Prepares what the first call of an operation would otherwise wait for. This implementation has nothing of that
     * kind.
     *
     * @param device which
     */
    default void warmUp(Device device) {}

    private static Tensor matrix(Tensor t, int index) {
        return t.slice(0, index, index + 1).reshape(t.dim(1), t.dim(2));
    }
}
