/**
 * Mixture of experts (DeepSeek-V2 &sect;2.2, DeepSeek-V3 &sect;2.1.2): which experts a token goes to, how it gets there
 * and back, what they compute, and on which devices they live.
 */
@NullMarked
package dev.octet.moe;

import org.jspecify.annotations.NullMarked;
