/**
 * Reports: tables and plots made from the files that a run left.
 */
@NullMarked
package dev.octet.benchmarks.report;

import org.jspecify.annotations.NullMarked;
