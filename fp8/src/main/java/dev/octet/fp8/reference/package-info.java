/**
 * The plain loops that define what every operation computes: slow, obviously right, exact where that is possible.
 */
@NullMarked
package dev.octet.fp8.reference;

import org.jspecify.annotations.NullMarked;
