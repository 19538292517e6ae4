/**
 * Attention in C for the instruction sets that the Vector API does not reach, called through {@link java.lang.foreign}.
 */
@NullMarked
package dev.octet.mla.ffm;

import org.jspecify.annotations.NullMarked;
