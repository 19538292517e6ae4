/**
 * FP8 tensors with fine-grained scales, and what can be done with them: {@link dev.octet.fp8.Fp8} holds the operations,
 * {@link dev.octet.fp8.ScaledTensor} the data, {@link dev.octet.fp8.Scaling} says which elements share a scale,
 * {@link dev.octet.fp8.Epilogue} what a product does with its sums, {@link dev.octet.fp8.Checkpoint} reads and writes
 * weights, {@link dev.octet.fp8.Fp8Codec} converts single values.
 * {@snippet lang=java :
 * Fp8 fp8 = Fp8.auto();
 * try (ScaledTensor x = fp8.quantize(activations, DType.F8_E4M3, Scaling.ACTIVATION);  // [M, K], 1x128
 *         ScaledTensor w = fp8.quantize(weights, DType.F8_E4M3, Scaling.WEIGHT);       // [N, K], 128x128
 *         Tensor y = fp8.gemm(x, w, DType.BF16)) {                                     // x * w^T, [M, N]
 *     float first = y.getFloat(0, 0);
 * }
 * }
 *
 * <p>What an operation returns owns its memory and is closed by the caller; forms that take an output write there and
 * allocate nothing that grows with it. Any thread may call any operation, on different outputs. Wrong arguments throw
 * {@link IllegalArgumentException} with the argument's name, what came and what fits; closed tensors throw
 * {@link IllegalStateException}; outputs are untouched then. {@code Octet.describe()} tells which backend runs what.
 */
package dev.octet.fp8;

import org.jspecify.annotations.NullMarked;
