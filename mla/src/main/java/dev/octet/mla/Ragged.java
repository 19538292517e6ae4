package dev.octet.mla;

/**
 * The lengths of sequences that lie one after the other without padding. The arrays are copied when the record is made;
 * those that it gives back are its own, and are not to be changed. Two of the same lengths are not equal.
 *
 * @param queries query tokens of each sequence, not negative
 * @param keys key tokens of each sequence, not negative
 */
public record Ragged(int[] queries, int[] keys) {
    /**
     * Copies and checks the lengths.
     *
     * @throws IllegalArgumentException if there are not as many of both, or one is negative
     */
    public Ragged {
        queries = checked("queries", queries);
        keys = checked("keys", keys);
        if (queries.length != keys.length) {
            throw new IllegalArgumentException(
                    "queries has " + queries.length + " sequences and keys " + keys.length + ", they must be as many");
        }
    }

    private static int[] checked(String name, int[] lengths) {
        int[] copy = lengths.clone();
        for (int i = 0; i < copy.length; i++) {
            if (copy[i] < 0) {
                throw new IllegalArgumentException(name + "[" + i + "] is " + copy[i] + ", a length can't be negative");
            }
        }
        return copy;
    }

    /**
     * {@return one sequence of {@code tokens} that attends to itself}
     *
     * @param tokens the length of each sequence
     */
    public static Ragged self(int... tokens) {
        return new Ragged(tokens, tokens);
    }

    /** {@return how many sequences} */
    public int sequences() {
        return queries.length;
    }

    /** {@return all query tokens together} */
    public long totalQueries() {
        return sum(queries);
    }

    /** {@return all key tokens together} */
    public long totalKeys() {
        return sum(keys);
    }

    private static long sum(int[] lengths) {
        long sum = 0;
        for (int length : lengths) {
            sum += length;
        }
        return sum;
    }
}
