/**
 * Rows of tokens and the router's product in C for the instruction sets and the stores that the Vector API does not reach,
 * called through {@link java.lang.foreign}.
 */
@NullMarked
package dev.octet.moe.ffm;

import org.jspecify.annotations.NullMarked;
