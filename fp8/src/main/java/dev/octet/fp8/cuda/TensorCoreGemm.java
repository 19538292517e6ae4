package dev.octet.fp8.cuda;

import static dev.octet.fp8.cuda.HopperVariant.DEPTH;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.cuda.TensorMap;
import dev.octet.cuda.TensorMap.Element;
import dev.octet.cuda.TensorMap.Layout;
import dev.octet.cuda.TensorMap.Promotion;
import dev.octet.cuda.TensorMap.Swizzle;
import dev.octet.fp8.Activation;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.cuda.HopperModel.Choice;
import dev.octet.fp8.cuda.HopperModel.Gpu;
import dev.octet.fp8.cuda.HopperModel.Work;
import dev.octet.fp8.cuda.HopperVariant.Share;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Prepares launches of {@code fp8_gemm_hopper.cu}. It takes what TMA can read: codes contiguous along K with rows at
 * multiples of 16 bytes, FP32 scales, those of rows in columns at multiples of 16 bytes. {@link #refusal} says why
 * something is not; the portable kernel takes it then.
 *
 * <p>The stacked weights of groups are one tensor map of three dimensions, so they must lie at equal distances.
 */
final class TensorCoreGemm {
    /** Shapes whose choice is kept; a decoder sees a few for each number of tokens. */
    private static final int KEPT = 4096;
    private static final Map<Shape, Choice> CHOICES = Collections.synchronizedMap(new LinkedHashMap<>(64, 0.75f, true) {
        private static final long serialVersionUID = 1;

        @Override
        protected boolean removeEldestEntry(Map.Entry<Shape, Choice> eldest) {
            return size() > KEPT;
        }
    });
    /** A thread's memory for the arguments of its next launch. */
    private static final ThreadLocal<MemorySegment> ARGUMENTS =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(HopperLaunch.ARGUMENT_BYTES, 8));

    /** All that the choice for a dense product depends on. */
    private record Shape(Gpu gpu, long tokens, long channels, long depth, boolean aVector, boolean bVector, DType a,
            DType b, DType d) {}

    private TensorCoreGemm() {}

    // ---------------------------------------------------------------------------------------------- what fits

    /**
     * {@return why the kernel does not take these operands, or empty}
     *
     * @param a {@code [tokens, K]}
     * @param b for each group {@code [channels, K]}
     * @param d {@code [tokens, channels]} of F32 or BF16
     * @param epilogue what is done with the sums
     */
    static Optional<String> refusal(ScaledTensor a, List<ScaledTensor> b, Tensor d, Epilogue epilogue) {
        ScaledTensor b0 = b.getFirst();
        if (a.columns() == 0 || a.rows() == 0 || b0.rows() == 0) {
            return Optional.of("nothing to multiply");
        }
        if (Math.max(Math.max(a.rows(), b0.rows()), a.columns()) > Integer.MAX_VALUE - 1024) {
            return Optional.of("an extent is above 2^31 - 1025");
        }
        if (b.size() > HopperLaunch.MOST_GROUPS) {
            return Optional.of("more than " + HopperLaunch.MOST_GROUPS + " groups");
        }
        String wrong = operand("A", a);
        for (int g = 0; g < b.size() && wrong == null; g++) {
            wrong = operand("B", b.get(g));
        }
        if (wrong == null && b.size() > 1) {
            wrong = stacked(b);
        }
        if (wrong == null && d.stride(1) != 1 && d.dim(1) > 1) {
            wrong = "D is not contiguous along its rows";
        }
        Tensor addend = epilogue.addend();
        if (wrong == null && addend != null && addend.stride(1) != 1 && addend.dim(1) > 1) {
            wrong = "the addend is not contiguous along its rows";
        }
        Tensor bias = epilogue.bias();
        if (wrong == null && bias != null && bias.stride(0) != 1 && bias.dim(0) > 1) {
            wrong = "the bias is not contiguous";
        }
        return Optional.ofNullable(wrong);
    }

    private static @Nullable String operand(String name, ScaledTensor t) {
        Tensor codes = t.codes();
        if (codes.stride(1) != 1 && codes.dim(1) > 1) {
            return name + " is not contiguous along K";
        }
        if (codes.address() % 16 != 0
                || codes.dim(0) > 1 && (codes.stride(0) % 16 != 0 || codes.stride(0) < codes.dim(1))) {
            return name + "'s rows do not begin at multiples of 16 bytes";
        }
        Tensor scales = t.scales();
        if (scales.dtype() != DType.F32) {
            return name + "'s scales are " + scales.dtype();
        }
        if (vector(t) && (scales.address() % 16 != 0 || scales.dim(0) > 1 && scales.stride(0) != 1
                || scales.dim(1) > 1 && (scales.stride(1) % 4 != 0 || scales.stride(1) < scales.dim(0)))) {
            return name + "'s scales are not columns at multiples of 16 bytes";
        }
        if (!vector(t) && (scales.stride(1) > Integer.MAX_VALUE || scales.stride(1) < 0)) {
            return name + "'s scales are too far apart";
        }
        return null;
    }

    private static @Nullable String stacked(List<ScaledTensor> b) {
        ScaledTensor first = b.getFirst();
        if (vector(first)) {
            return "groups of B have scales of rows";
        }
        long codes = b.get(1).codes().address() - first.codes().address();
        long scales = b.get(1).scales().address() - first.scales().address();
        if (codes % 16 != 0 || codes <= 0 || codes >= 1L << 40 || scales % 4 != 0) {
            return "the groups' B do not lie at equal distances";
        }
        for (int g = 0; g < b.size(); g++) {
            ScaledTensor t = b.get(g);
            if (t.codes().address() != first.codes().address() + g * codes
                    || t.scales().address() != first.scales().address() + g * scales
                    || t.codes().stride(0) != first.codes().stride(0) || t.format() != first.format()
                    || !Arrays.equals(t.scales().strides(), first.scales().strides())
                    || t.scaling().granularity() != first.scaling().granularity()) {
                return "the groups' B do not lie at equal distances";
            }
        }
        return null;
    }

    /** Whether there is a scale for each row; else one for each 128, or for all. */
    private static boolean vector(ScaledTensor t) {
        return t.scaling().granularity().blockRows() == 1;
    }

    // ---------------------------------------------------------------------------------------------- launches

    /** {@return whether the launcher has a Hopper GPU and this product was launched there} */
    static boolean launched(Launcher launcher, ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue) {
        Optional<Gpu> gpu = launcher.hopper();
        if (gpu.isEmpty() || refusal(a, List.of(b), d, epilogue).isPresent()) {
            return false;
        }
        launcher.launch(dense(ARGUMENTS.get(), gpu.get(), a, b, d, epilogue));
        return true;
    }

    /** {@return whether the launcher has a Hopper GPU and these products were launched there} */
    static boolean launched(Launcher launcher, ScaledTensor a, long[] begins, long[] ends, List<ScaledTensor> b,
            Tensor d) {
        Optional<Gpu> gpu = launcher.hopper();
        if (gpu.isEmpty() || Arrays.equals(begins, ends) || refusal(a, b, d, Epilogue.NONE).isPresent()) {
            return false;
        }
        launcher.launch(grouped(ARGUMENTS.get(), gpu.get(), a, begins, ends, b, d));
        return true;
    }

    /** {@return what the model needs to know} */
    static Work work(ScaledTensor a, ScaledTensor b, Tensor d, long[] rows) {
        return new Work(rows, Math.toIntExact(b.rows()), Math.toIntExact(a.columns()), vector(a), vector(b),
                a.format() == DType.F8_E5M2, b.format() == DType.F8_E5M2, d.dtype() == DType.F32);
    }

    /**
     * {@return the launch of one product, by the variant that is predicted to be fastest}
     *
     * @param arguments where the arguments are written
     */
    static HopperLaunch dense(MemorySegment arguments, Gpu gpu, ScaledTensor a, ScaledTensor b, Tensor d,
            Epilogue epilogue) {
        Shape shape = new Shape(gpu, a.rows(), b.rows(), a.columns(), vector(a), vector(b), a.format(), b.format(),
                d.dtype());
        Choice choice = CHOICES.get(shape);
        if (choice == null) {
            choice = HopperModel.choose(work(a, b, d, new long[] {a.rows()}), gpu);
            CHOICES.put(shape, choice);
        }
        return prepare(arguments, choice, a, List.of(b), d, epilogue, null, null);
    }

    /**
     * {@return the launch of a grouped product}
     *
     * @param arguments where the arguments are written
     * @param begins the first token of each group
     * @param ends one past the last
     */
    static HopperLaunch grouped(MemorySegment arguments, Gpu gpu, ScaledTensor a, long[] begins, long[] ends,
            List<ScaledTensor> b, Tensor d) {
        long[] rows = new long[begins.length];
        for (int g = 0; g < rows.length; g++) {
            rows[g] = ends[g] - begins[g];
        }
        Choice choice = HopperModel.choose(work(a, b.getFirst(), d, rows), gpu);
        return prepare(arguments, choice, a, b, d, Epilogue.NONE, begins, ends);
    }

    /** {@return the launch of a given variant} */
    static HopperLaunch prepare(MemorySegment p, Choice choice, ScaledTensor a, List<ScaledTensor> groups, Tensor d,
            Epilogue epilogue, long @Nullable [] begins, long @Nullable [] ends) {
        HopperVariant v = choice.variant();
        ScaledTensor b = groups.getFirst();
        boolean alone = groups.size() == 1;
        long codesApart = alone ? 0 : groups.get(1).codes().address() - b.codes().address();
        long scalesApart = alone ? 0 : (groups.get(1).scales().address() - b.scales().address()) / 4;
        HopperLaunch.Map mapA = codes(a, 1, 0, v.tokenTile(), v.share() == (v.swapped() ? Share.RIGHT : Share.LEFT));
        HopperLaunch.Map mapB = codes(b, groups.size(), codesApart, v.channelTile(),
                v.share() == (v.swapped() ? Share.LEFT : Share.RIGHT));
        HopperLaunch.Map scalesA = vector(a) ? scales(a, v.tokenTile()) : null;
        HopperLaunch.Map scalesB = vector(b) ? scales(b, v.channelTile()) : null;
        long pitch = d.dim(0) > 1 ? d.stride(0) : d.dim(1);
        boolean store = !v.outF32() && !v.swapped() && d.address() % 16 == 0 && pitch * 2 % 16 == 0
                && pitch >= d.dim(1) && pitch * 2 < 1L << 40;
        HopperLaunch.Map mapD = !store ? null : new HopperLaunch.Map(new Layout(Element.BF16,
                new long[] {d.dim(1), d.dim(0)}, new long[] {pitch * 2}, new int[] {v.line(), 64},
                v.line() == 64 ? Swizzle.B128 : v.line() == 32 ? Swizzle.B64 : Swizzle.B32, Promotion.B256, false),
                d.address());

        // Where only one operand has blocks, its scales are the first; where both have, left's are.
        ScaledTensor first = vector(a) ? b : vector(b) || !v.swapped() ? a : b;
        ScaledTensor second = first == a ? b : a;
        int firstStep = 1;
        int secondStep = 1;
        if (!vector(first)) {
            setLong(p, 16, first.scales().address());
            setLong(p, 72, blockRow(first));
            setLong(p, 80, first == b ? scalesApart : 0);
            firstStep = step(first);
        }
        if (!vector(first) && !vector(second)) {
            setLong(p, 24, second.scales().address());
            setLong(p, 88, blockRow(second));
            secondStep = step(second);
        }
        setLong(p, 32, d.address());
        Tensor addend = epilogue.addend();
        Tensor bias = epilogue.bias();
        setLong(p, 40, addend == null ? 0 : addend.address());
        setLong(p, 48, bias == null ? 0 : bias.address());
        setLong(p, 56, pitch);
        setLong(p, 64, addend == null ? 0 : addend.stride(0));
        setInt(p, 96, Math.toIntExact(a.rows()));
        setInt(p, 100, Math.toIntExact(b.rows()));
        setInt(p, 104, Math.toIntExact(a.columns()));
        setInt(p, 108, groups.size());
        setInt(p, 112, choice.band());
        setInt(p, 116, firstStep);
        setInt(p, 120, secondStep);
        setInt(p, 124, a.scaling().granularity() == Granularity.ROW ? 0 : 1);
        setInt(p, 128, addend != null && addend.dtype() == DType.BF16 ? 1 : 0);
        setInt(p, 132, bias != null && bias.dtype() == DType.BF16 ? 1 : 0);
        setInt(p, 136, epilogue.activation() == Activation.SILU ? 1 : 0);
        setInt(p, 140, store ? 1 : 0);
        setInt(p, 144, d.address() % (4L * v.outBytes()) == 0 && pitch % 4 == 0 ? 1 : 0);
        // Weights that are read once should not push out the tokens that every block reads.
        boolean once = a.rows() <= v.tokenTile();
        setInt(p, 148, v.swapped() && once ? 0 : 1);
        setInt(p, 152, !v.swapped() && once ? 0 : 1);
        setLong(p, 0, 0);
        setLong(p, 8, 0);
        setInt(p, 156, begins == null ? 0 : 1);
        if (begins != null && ends != null) {
            for (int g = 0; g < begins.length; g++) {
                setInt(p, 160 + 4L * g, Math.toIntExact(begins[g]));
                setInt(p, 160 + 4L * (HopperLaunch.MOST_GROUPS + g), Math.toIntExact(ends[g]));
            }
        }
        return v.swapped() ? new HopperLaunch(choice, Arrays.asList(mapB, mapA, scalesB, scalesA, mapD), p)
                : new HopperLaunch(choice, Arrays.asList(mapA, mapB, scalesA, scalesB, mapD), p);
    }

    /** Floats from a row of blocks to the next; 0 where one scale is for all. */
    private static long blockRow(ScaledTensor t) {
        return t.scaling().granularity() == Granularity.TENSOR ? 0 : t.scales().stride(0);
    }

    private static int step(ScaledTensor t) {
        return t.scaling().granularity() == Granularity.TENSOR ? 0 : (int) t.scales().stride(1);
    }

    private static HopperLaunch.Map codes(ScaledTensor t, int groups, long apart, int tile, boolean shared) {
        // A single row may have any stride, and a single group any distance.
        long pitch = t.rows() > 1 ? t.codes().stride(0) : (t.columns() + 15) / 16 * 16;
        return new HopperLaunch.Map(new Layout(Element.U8, new long[] {t.columns(), t.rows(), groups},
                new long[] {pitch, groups > 1 ? apart : pitch * t.rows()},
                new int[] {DEPTH, shared ? tile / 2 : tile, 1},
                Swizzle.B128, Promotion.B256, false), t.codes().address());
    }

    private static HopperLaunch.Map scales(ScaledTensor t, int tile) {
        Tensor s = t.scales();
        long pitch = s.dim(1) > 1 ? s.stride(1) : (s.dim(0) + 3) / 4 * 4;
        return new HopperLaunch.Map(new Layout(Element.F32, new long[] {s.dim(0), s.dim(1)}, new long[] {pitch * 4},
                new int[] {tile, 1}, Swizzle.NONE, Promotion.B256, false), s.address());
    }

    private static void setLong(MemorySegment p, long at, long value) {
        p.set(ValueLayout.JAVA_LONG, at, value);
    }

    private static void setInt(MemorySegment p, long at, int value) {
        p.set(ValueLayout.JAVA_INT, at, value);
    }
}
