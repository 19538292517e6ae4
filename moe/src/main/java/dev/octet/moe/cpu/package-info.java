/**
 * The CPU's backends: {@code cpu} on the Vector API, {@code scalar} in plain Java.
 */
@NullMarked
package dev.octet.moe.cpu;

import org.jspecify.annotations.NullMarked;
