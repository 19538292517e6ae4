/**
 * What a CPU kernel needs from the machine: the thread pool, scratch memory, the gate to the Vector API, and the
 * catalogue of performance cliffs that are reported once each.
 */
@NullMarked
package dev.octet.core.cpu;

import org.jspecify.annotations.NullMarked;
