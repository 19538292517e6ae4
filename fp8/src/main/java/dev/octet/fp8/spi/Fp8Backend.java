package dev.octet.fp8.spi;

import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.spi.Backend;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;

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
}
