package dev.octet.mla;

/**
 * What attention looks at. Queries and keys of a sequence end together: with {@code n} keys and {@code m} queries, query
 * {@code i} stands at position {@code n - m + i}.
 *
 * @param scale what scores are multiplied by before the softmax; see {@link MlaConfig#softmaxScale()}
 * @param causal whether a query sees only keys at its own position and before
 * @param window how many keys a query sees at most, counted back from its own position; 0 for all. Only with
 *     {@code causal}
 */
public record AttentionOptions(float scale, boolean causal, int window) {
    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if the scale is not positive and finite, the window negative, or a window comes
     *     without {@code causal}
     */
    public AttentionOptions {
        if (!(scale > 0) || scale == Float.POSITIVE_INFINITY) {
            throw new IllegalArgumentException("scale is " + scale + ", it must be positive and finite");
        }
        if (window < 0 || window > 0 && !causal) {
            throw new IllegalArgumentException(
                    "window is " + window + ", it must be positive, or 0 for none, and needs causal");
        }
    }

    /**
     * {@return causal attention over everything}
     *
     * @param scale what scores are multiplied by before the softmax, finite and positive
     */
    public static AttentionOptions causal(float scale) {
        return new AttentionOptions(scale, true, 0);
    }

    /**
     * {@return attention that sees keys after the query, too}
     *
     * @param scale what scores are multiplied by before the softmax, finite and positive
     */
    public static AttentionOptions bidirectional(float scale) {
        return new AttentionOptions(scale, false, 0);
    }

    /**
     * {@return the same over at most so many keys back}
     *
     * @param window keys that a query sees, its own included; 0 for all
     */
    public AttentionOptions withWindow(int window) {
        return new AttentionOptions(scale, causal, window);
    }

    /**
     * {@return the first key that a query sees}
     *
     * @param position the query's; negative if there are fewer keys than queries
     */
    public long firstKey(long position) {
        return window == 0 ? 0 : Math.max(0, position - window + 1);
    }

    /**
     * {@return the key after the last one that a query sees; not more than {@link #firstKey} if it sees none}
     *
     * @param position the query's
     * @param keys keys of the sequence
     */
    public long endKey(long position, long keys) {
        return causal ? Math.clamp(position + 1, 0, keys) : keys;
    }
}
