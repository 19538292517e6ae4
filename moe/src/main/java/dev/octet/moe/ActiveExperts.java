package dev.octet.moe;

import dev.octet.fp8.ScaledTensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The experts that have tokens in a call, their weights, and where in the permutation each one's tokens begin. Each
 * thread has one that it uses again, so that decode steps, which all have as many tokens, leave no garbage.
 */
final class ActiveExperts implements AutoCloseable {
    /** Slots of a permutation that a thread keeps. */
    private static final long KEPT_SLOTS = 1 << 16;
    private static final ThreadLocal<ActiveExperts> MINE = ThreadLocal.withInitial(ActiveExperts::new);

    private @Nullable TokenPermutation kept;
    private long[] offsets = {0};
    private final List<ScaledTensor> gateUp = new ArrayList<>();
    private final List<ScaledTensor> down = new ArrayList<>();

    private ActiveExperts() {}

    static ActiveExperts mine() {
        return MINE.get();
    }

    /**
     * {@return the permutation of a routing, until the next call}
     *
     * @throws IllegalArgumentException if the routing names an expert that there is not
     */
    TokenPermutation permutation(Routing routing, int experts) {
        TokenPermutation p = kept;
        if (p != null && p.fits(routing, experts)) {
            p.refill(routing);
            return p;
        }
        kept = routing.tokens() * routing.topK() <= KEPT_SLOTS ? TokenPermutation.reusable(routing, experts) : null;
        return kept != null ? kept : TokenPermutation.of(routing, experts, 1);
    }

    /**
     * Finds them; {@link #close} forgets them.
     *
     * @throws IllegalArgumentException if one's weights are not held
     */
    void find(TokenPermutation p, ExpertWeights weights) {
        close();
        int active = 0;
        for (int e = 0; e < p.experts(); e++) {
            active += p.count(e) > 0 ? 1 : 0;
        }
        if (offsets.length != active + 1) {
            offsets = new long[active + 1];
        }
        for (int e = 0, i = 0; e < p.experts(); e++) {
            if (p.count(e) > 0) {
                if (!weights.holds(e)) {
                    throw new IllegalArgumentException("routing names expert " + e
                            + ", whose weights are not held here; -1 stands for an expert elsewhere");
                }
                gateUp.add(weights.expert(e).gateUp());
                down.add(weights.expert(e).down());
                offsets[i + 1] = offsets[i] + p.count(e);
                i++;
            }
        }
    }

    long[] offsets() {
        return offsets;
    }

    List<ScaledTensor> gateUp() {
        return gateUp;
    }

    List<ScaledTensor> down() {
        return down;
    }

    /** Weights are not to be kept alive by the thread. */
    @Override
    public void close() {
        gateUp.clear();
        down.clear();
    }
}
