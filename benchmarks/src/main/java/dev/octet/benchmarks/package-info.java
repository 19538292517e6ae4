/**
 * The command line: what {@code ./octet} runs.
 */
@NullMarked
package dev.octet.benchmarks;

import org.jspecify.annotations.NullMarked;
