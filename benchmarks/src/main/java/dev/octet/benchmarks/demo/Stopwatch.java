package dev.octet.benchmarks.demo;

import java.util.Arrays;
import java.util.List;

/** Times some ways to do the same, in turns, so that a busy moment of the machine hits all alike. */
final class Stopwatch {
    private static final int LEAST_ROUNDS = 3;
    /** What the compiler needs to finish with every loop of an encoder. */
    private static final double WARM_UP_SECONDS = 2;

    private Stopwatch() {}

    /**
     * Measures.
     *
     * @param tasks what to time
     * @param seconds how long to go on, after a warm-up of each of the same length but at most two seconds; at
     *     least three rounds are run
     * @return the median time of each in seconds
     */
    static double[] medians(List<Runnable> tasks, double seconds) {
        for (Runnable task : tasks) {
            double warmUp = Math.min(WARM_UP_SECONDS, seconds) * 1e9;
            long start = System.nanoTime();
            for (int i = 0; i < LEAST_ROUNDS || System.nanoTime() - start < warmUp; i++) {
                task.run();
            }
        }
        double[][] times = new double[tasks.size()][64];
        int rounds = 0;
        long begin = System.nanoTime();
        while (rounds < LEAST_ROUNDS || System.nanoTime() - begin < seconds * 1e9) {
            for (int t = 0; t < times.length; t++) {
                long start = System.nanoTime();
                tasks.get(t).run();
                if (rounds == times[t].length) {
                    times[t] = Arrays.copyOf(times[t], rounds * 2);
                }
                times[t][rounds] = (System.nanoTime() - start) * 1e-9;
            }
            rounds++;
        }
        double[] medians = new double[times.length];
        for (int t = 0; t < times.length; t++) {
            Arrays.sort(times[t], 0, rounds);
            medians[t] = times[t][rounds / 2];
        }
        return medians;
    }
}
