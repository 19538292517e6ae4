/**
 * Which cases there are, how they are run through JMH's Runner, and how times become rates that stand beside a limit
 * and a peer of the same run.
 */
@NullMarked
package dev.octet.benchmarks.suite;

import org.jspecify.annotations.NullMarked;
