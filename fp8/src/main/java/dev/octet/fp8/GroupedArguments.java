package dev.octet.fp8;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.TensorAccess;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What grouped GEMMs ask of their arguments. */
final class GroupedArguments {
    private GroupedArguments() {}

    /**
     * Where groups begin and end. Each thread keeps that of its last call, and one of as many groups, as in the next layer
     * or decode step, finds it there: backends use it during the call alone.
     */
    static final class Segments {
        private static final ThreadLocal<Segments> MINE = ThreadLocal.withInitial(Segments::new);

        long[] begins = {};
        long[] ends = {};

        private static Segments mine(int groups) {
            Segments s = MINE.get();
            if (s.begins.length != groups) {
                s.begins = new long[groups];
                s.ends = new long[groups];
            }
            return s;
        }

        static Segments of(long[] offsets) {
            Segments s = mine(offsets.length - 1);
            System.arraycopy(offsets, 0, s.begins, 0, s.begins.length);
            System.arraycopy(offsets, 1, s.ends, 0, s.ends.length);
            return s;
        }

        /** Groups with so many rows each, in places of a fixed size. */
        static Segments of(long[] counts, long place) {
            Segments s = mine(counts.length);
            for (int g = 0; g < counts.length; g++) {
                s.begins[g] = g * place;
                s.ends[g] = s.begins[g] + counts[g];
            }
            return s;
        }
    }

    static void requireOffsets(long[] offsets, long extent, String what) {
        if (offsets.length < 2) {
            throw new IllegalArgumentException("offsets has " + offsets.length
                    + " elements, it must have one more than there are groups, at least 2");
        }
        if (offsets[0] != 0) {
            throw new IllegalArgumentException("offsets[0] is " + offsets[0] + ", it must be 0");
        }
        for (int g = 1; g < offsets.length; g++) {
            if (offsets[g] < offsets[g - 1]) {
                throw new IllegalArgumentException("offsets[" + g + "] is " + offsets[g]
                        + ", it must be at least the one before, " + offsets[g - 1]);
            }
            if (offsets[g] > extent) {
                throw new IllegalArgumentException(
                        "offsets[" + g + "] is " + offsets[g] + ", there are " + extent + " " + what);
            }
        }
    }

    static void requireCounts(long[] counts, long rows) {
        if (counts.length == 0 || rows % counts.length != 0) {
            throw new IllegalArgumentException("counts has " + counts.length
                    + " elements, their number must divide the " + rows + " rows of a");
        }
        long place = rows / counts.length;
        for (int g = 0; g < counts.length; g++) {
            if (counts[g] < 0 || counts[g] > place) {
                throw new IllegalArgumentException("counts[" + g + "] is " + counts[g] + ", it must be 0 to " + place);
            }
        }
    }

    static void requireGroups(String name, int groups, List<ScaledTensor> b) {
        if (b.size() != groups) {
            throw new IllegalArgumentException(
                    "b has " + b.size() + " matrices, " + name + " has " + groups + " groups");
        }
    }

    static void requireProducts(ScaledTensor a, List<ScaledTensor> b, Tensor d) {
        long n = b.getFirst().rows();
        for (int g = 0; g < b.size(); g++) {
            if (b.get(g).rows() != n) {
                throw new IllegalArgumentException("b[" + g + "] is " + b.get(g).codes().shape() + " and b[0] "
                        + b.getFirst().codes().shape() + "; their rows (N) must be equal");
            }
            try {
                Fp8.requireGemm(a, b.get(g));
            } catch (IllegalArgumentException e) {
                throw new IllegalArgumentException("group " + g + ": " + e.getMessage(), e);
            }
        }
        Fp8.requireMatrix("d", d);
        Fp8.requireOutput("d", d.dtype());
        Fp8.requireShape("d", d, a.rows(), n);
        Fp8.requireDevice("d", d, a.device());
        TensorAccess.writable("d", d);
    }

    static void requireKGroups(ScaledTensor a, ScaledTensor b, long[] offsets, Tensor d, @Nullable Tensor addend) {
        if (b.scaling().granularity() != Granularity.BLOCK_1X128) {
            throw new IllegalArgumentException("a has granularity " + a.scaling().granularity() + " and b "
                    + b.scaling().granularity() + "; groups along K take (BLOCK_1X128, BLOCK_1X128)");
        }
        for (int g = 1; g < offsets.length; g++) {
            boolean empty = offsets[g] == offsets[g - 1];
            if (!empty && (offsets[g - 1] % Granularity.BLOCK != 0
                    || offsets[g] % Granularity.BLOCK != 0 && offsets[g] != a.columns())) {
                throw new IllegalArgumentException("offsets " + offsets[g - 1] + " and " + offsets[g]
                        + " cut a block of scales; they must be multiples of 128, or K, which is " + a.columns());
            }
        }
        if (d.dtype() != DType.F32) {
            throw new IllegalArgumentException("d is " + d.dtype() + ", groups along K give F32");
        }
        Shape shape = Shape.of(offsets.length - 1, a.rows(), b.rows());
        Fp8.requireShape("d", d, shape);
        Fp8.requireDevice("d", d, a.device());
        TensorAccess.writable("d", d);
        if (addend != null) {
            if (addend.dtype() != DType.F32 && addend.dtype() != DType.BF16) {
                throw new IllegalArgumentException("addend is " + addend.dtype() + ", it must be F32 or BF16");
            }
            Fp8.requireShape("addend", addend, shape);
            Fp8.requireDevice("addend", addend, a.device());
            TensorAccess.readable("addend", addend);
        }
    }
}
