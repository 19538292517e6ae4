/**
 * The tensor and what it is made of: {@link dev.octet.core.DType}, {@link dev.octet.core.Shape},
 * {@link dev.octet.core.Device} and {@link dev.octet.core.Tensor}; and {@link dev.octet.core.Octet}, which tells what
 * this machine will run and why.
 */
@NullMarked
package dev.octet.core;

import org.jspecify.annotations.NullMarked;
