/**
 * The libraries that Octet is measured against.
 */
@NullMarked
package dev.octet.benchmarks.peer;

import org.jspecify.annotations.NullMarked;
