/**
 * Mixtures of experts as plain loops in FP64, which define the results.
 */
@NullMarked
package dev.octet.moe.reference;

import org.jspecify.annotations.NullMarked;
