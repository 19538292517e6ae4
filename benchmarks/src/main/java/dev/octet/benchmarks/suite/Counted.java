package dev.octet.benchmarks.suite;

/**
 * How many iterations of a case count: see {@link Disturbance}.
 *
 * @param all how many there are, of all JVMs and runs
 * @param undisturbed how many had nobody beside them
 * @param witnessed whether that is known
 * @param runs how often the case was run
 */
public record Counted(int all, int undisturbed, boolean witnessed, int runs) {
    /** Iterations beside which nothing was witnessed. */
    static Counted unwitnessed(int all) {
        return new Counted(all, all, false, 1);
    }

    /** {@return whether so few are undisturbed that all of them count} */
    public boolean disturbed() {
        return undisturbed < all && (undisturbed < Disturbance.FEWEST || undisturbed * Disturbance.ONE_OF < all);
    }

    /** {@return how many count} */
    public int count() {
        return disturbed() ? all : undisturbed;
    }
}
