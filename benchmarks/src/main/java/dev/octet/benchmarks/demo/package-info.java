/**
 * The demo: a sentence encoder whose linear layers run as FP8 GEMMs, beside the same encoder in FP32, on real weights
 * and real text; and what a latent cache would do to the same model's attention. The encoder is here to use the library,
 * not to be one.
 */
@NullMarked
package dev.octet.benchmarks.demo;

import org.jspecify.annotations.NullMarked;
