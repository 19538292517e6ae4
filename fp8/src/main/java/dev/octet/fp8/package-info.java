/**
 * FP8 tensors with scales, and what can be done with them: {@link dev.octet.fp8.Fp8} holds the operations,
 * {@link dev.octet.fp8.ScaledTensor} the data, {@link dev.octet.fp8.Fp8Codec} the conversions of single values.
 */
@NullMarked
package dev.octet.fp8;

import org.jspecify.annotations.NullMarked;
