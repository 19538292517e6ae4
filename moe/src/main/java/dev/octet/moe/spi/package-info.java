/**
 * What a backend of mixtures of experts implements.
 */
@NullMarked
package dev.octet.moe.spi;

import org.jspecify.annotations.NullMarked;
