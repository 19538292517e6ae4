/**
 * The JMH benchmarks. Times are averages per operation; {@link dev.octet.benchmarks.suite} turns them into rates and
 * sets them beside the limits and peers. JMH runs them on the class path, in JVMs of their own.
 */
@NullMarked
package dev.octet.benchmarks.jmh;

import org.jspecify.annotations.NullMarked;
