package dev.octet.fp8.cuda;

import dev.octet.fp8.cuda.HopperModel.Choice;
import dev.octet.fp8.cuda.HopperModel.Gpu;
import dev.octet.fp8.cuda.HopperModel.Work;
import dev.octet.fp8.cuda.HopperVariant.Out;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * What {@link HopperModel} chose, kept by shape: asking again costs a few comparisons and allocates nothing. The model
 * always chooses the same for the same shape, so that what is kept can't change a result.
 *
 * <p>For groups the model is asked about rounded numbers of tokens and groups, all groups alike: routers give other
 * numbers at every step, and the best variant does not hang on the last token.
 */
final class HopperChoices {
    private static final int KEPT = 4096;
    private static final @Nullable Entry[] ENTRIES = new Entry[KEPT];

    /** Immutable: a thread that sees the one before asks the model itself. */
    private record Entry(Gpu gpu, long tokens, long groups, long channels, long depth, int kinds, Choice choice) {}

    private HopperChoices() {}

    /**
     * {@return the choice for a plain product}
     *
     * @param splits whether K may be split
     */
    static Choice dense(Gpu gpu, HopperOperand a, HopperOperand b, long depth, Out out, boolean epilogue,
            boolean splits) {
        return kept(gpu, a.rows, splits ? 0 : 1, depth, a, b, out, epilogue);
    }

    /**
     * {@return the choice for a grouped product, whose K is never split}
     *
     * @param tokens of all groups together, at least 1
     * @param groups that have tokens
     */
    static Choice grouped(Gpu gpu, long tokens, long groups, HopperOperand a, HopperOperand b, Out out) {
        return kept(gpu, rounded(tokens), rounded(groups), a.columns, a, b, out, false);
    }

    /** {@return the next number that has but three significant bits} */
    private static long rounded(long n) {
        int shift = Math.max(0, 61 - Long.numberOfLeadingZeros(n));
        return (n + (1L << shift) - 1) >> shift << shift;
    }

    private static Choice kept(Gpu gpu, long tokens, long groups, long depth, HopperOperand a, HopperOperand b, Out out,
            boolean epilogue) {
        int kinds = (a.vector ? 1 : 0) + (b.vector ? 2 : 0) + 4 * a.format.ordinal() + 64 * b.format.ordinal()
                + 1024 * out.ordinal() + (epilogue ? 8192 : 0);
        long hash = (((tokens * 31 + groups) * 31 + b.rows) * 31 + depth) * 31 + kinds;
        int at = (int) (hash * 0x9E3779B97F4A7C15L >>> 52);
        Entry e = ENTRIES[at];
        if (e == null || e.gpu != gpu || e.tokens != tokens || e.groups != groups || e.channels != b.rows
                || e.depth != depth || e.kinds != kinds) {
            // A second group, even if it is empty, keeps K whole.
            long[] rows = new long[groups == 0 ? 1 : (int) Math.max(2, groups)];
            if (groups == 0) {
                rows[0] = tokens;
            } else {
                Arrays.fill(rows, 0, (int) groups, Math.ceilDiv(tokens, groups));
            }
            Choice choice = HopperModel.choose(TensorCoreGemm.work(a, b, rows, depth, out, epilogue), gpu);
            e = new Entry(gpu, tokens, groups, b.rows, depth, kinds, choice);
            ENTRIES[at] = e;
        }
        return e.choice;
    }
}
