/**
 * The tensor and what it is made of: {@link dev.octet.core.DType}, {@link dev.octet.core.Shape},
 * {@link dev.octet.core.Device} and {@link dev.octet.core.Tensor}; and {@link dev.octet.core.Octet}, which tells what
 * this machine will run and why.
 * {@snippet lang=java :
 * try (Tensor t = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3);  // F32 [2, 3], copied into native memory
 *         Tensor b = Tensor.allocate(DType.BF16, Shape.of(2, 3))) {
 *     b.copyFrom(t.toFloatArray());
 *     Tensor column = t.slice(1, 2, 3);                             // a view of the last column
 *     IO.println(column + ", last " + column.getFloat(1, 0) + "; " + Octet.describe());
 * }
 * }
 */
package dev.octet.core;

import org.jspecify.annotations.NullMarked;
