package dev.octet.fp8.cuda;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.cuda.TensorMap.Element;
import dev.octet.cuda.TensorMap.Swizzle;
import dev.octet.fp8.Activation;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.cuda.HopperModel.Choice;
import dev.octet.fp8.cuda.HopperModel.Gpu;
import dev.octet.fp8.cuda.HopperModel.Work;
import dev.octet.fp8.cuda.HopperVariant.Out;
import dev.octet.fp8.cuda.HopperVariant.Share;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Prepares launches of {@code fp8_gemm_hopper.cu}: every pairing, format, stride, output and epilogue of the API,
 * dense, grouped, masked and along K. Operands that TMA can't read are staged first ({@link HopperOperand}). {@link #refusal}
 * names what is left to the portable kernel.
 *
 * <p>Groups whose weights lie at equal distances are one launch; others, and groups along K, are one launch each. A
 * thread has one object, and no call allocates once its shape is known.
 */
final class TensorCoreGemm {
    private static final ThreadLocal<TensorCoreGemm> MINE = ThreadLocal.withInitial(TensorCoreGemm::new);
    private static final int LARGEST = Integer.MAX_VALUE - 1024;

    private final HopperOperand a = new HopperOperand();
    private final HopperOperand b = new HopperOperand();
    private final HopperLaunch launch = new HopperLaunch();

    TensorCoreGemm() {}

    // ---------------------------------------------------------------------------------------------- operations

    /** {@return whether the launcher has a Hopper GPU and this product was launched there} */
    static boolean launched(Launcher launcher, ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue) {
        Gpu gpu = launcher.hopper();
        return gpu != null && MINE.get().dense(launcher, gpu, a, b, d, null, epilogue);
    }

    /** {@return whether the launcher has a Hopper GPU and this product with a quantised result was launched there} */
    static boolean launched(Launcher launcher, ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue) {
        Gpu gpu = launcher.hopper();
        return gpu != null && MINE.get().dense(launcher, gpu, a, b, d.codes(), d, epilogue);
    }

    /** {@return whether the launcher has a Hopper GPU and these products were launched there} */
    static boolean launched(Launcher launcher, ScaledTensor a, long[] begins, long[] ends, List<ScaledTensor> b,
            Tensor d) {
        Gpu gpu = launcher.hopper();
        return gpu != null && MINE.get().grouped(launcher, gpu, a, begins, ends, b, d);
    }

    /** {@return whether the launcher has a Hopper GPU and these products along K were launched there} */
    static boolean launched(Launcher launcher, ScaledTensor a, ScaledTensor b, long[] offsets, Tensor d,
            @Nullable Tensor addend) {
        Gpu gpu = launcher.hopper();
        return gpu != null && MINE.get().alongK(launcher, gpu, a, b, offsets, d, addend);
    }

    /** {@return why the kernel does not take a product of these operands, or null} */
    static @Nullable String refusal(ScaledTensor a, ScaledTensor b) {
        if (a.columns() == 0 || a.rows() == 0 || b.rows() == 0) {
            return "nothing to multiply";
        }
        if (Math.max(Math.max(a.rows(), b.rows()), a.columns()) > LARGEST) {
            return "an extent is above 2^31 - 1025";
        }
        if (Math.max(a.scales().stride(1), b.scales().stride(1)) > LARGEST / 4 && a.columns() > 128) {
            return "scales of neighbours along K are more than 2 GiB apart";
        }
        return null;
    }

    /** What launches of one call leave to each other is nobody else's until the last of them is launched. */
    private boolean dense(Launcher launcher, Gpu gpu, ScaledTensor ta, ScaledTensor tb, Tensor d,
            @Nullable ScaledTensor quantized, Epilogue epilogue) {
        if (refusal(ta, tb) != null) {
            return false;
        }
        a.read(ta);
        b.read(tb);
        long bytes = a.stagedBytes() + b.stagedBytes();
        if (bytes == 0) {
            launchDense(launcher, gpu, d, quantized, epilogue);
            return true;
        }
        synchronized (launcher.order()) {
            long at = launcher.workspace(bytes);
            if (at == 0) {
                return false;
            }
            HopperOperand.stage(launcher, at, a, b);
            launchDense(launcher, gpu, d, quantized, epilogue);
        }
        return true;
    }

    private void launchDense(Launcher launcher, Gpu gpu, Tensor d, @Nullable ScaledTensor quantized,
            Epilogue epilogue) {
        Out out = quantized != null ? Out.FP8 : d.dtype() == DType.F32 ? Out.F32 : Out.BF16;
        Choice choice = HopperChoices.dense(gpu, a, b, a.columns, out, !plain(epilogue),
                launcher.splitsK());
        prepare(choice, choice.clusters(), a.columns, d, quantized, epilogue);
        launcher.launch(launch);
    }

    private static boolean plain(Epilogue epilogue) {
        return epilogue.addend() == null && epilogue.bias() == null && epilogue.activation() == Activation.IDENTITY;
    }

    private boolean grouped(Launcher launcher, Gpu gpu, ScaledTensor ta, long[] begins, long[] ends,
            List<ScaledTensor> tb, Tensor d) {
        long tokens = 0;
        long used = 0;
        for (int g = 0; g < begins.length; g++) {
            tokens += ends[g] - begins[g];
            used += ends[g] > begins[g] ? 1 : 0;
            if (refusal(ta, tb.get(g)) != null) {
                return false;
            }
        }
        if (tokens == 0) {
            return false;
        }
        a.read(ta);
        boolean together = begins.length <= HopperLaunch.MOST_GROUPS && HopperOperand.stacked(tb);
        long most = 0;
        if (together) {
            b.read(tb);
            most = b.stagedBytes();
        } else {
            for (int g = 0; g < begins.length; g++) {
                b.read(tb.get(g));
                most = Math.max(most, b.stagedBytes());
            }
        }
        long own = a.stagedBytes();
        synchronized (launcher.order()) {
            long at = own + most == 0 ? 0 : launcher.workspace(own + most);
            if (own + most != 0 && at == 0) {
                return false;
            }
            Out out = d.dtype() == DType.F32 ? Out.F32 : Out.BF16;
            if (together) {
                HopperOperand.stage(launcher, at, a, b);
                launchGroups(launcher, gpu, tokens, used, begins, ends, 0, begins.length, d, out);
                return true;
            }
            HopperOperand.stage(launcher, at, a, null);
            for (int g = 0; g < begins.length; g++) {
                if (ends[g] > begins[g]) {
                    b.read(tb.get(g));
                    HopperOperand.stage(launcher, at + own, b, null);
                    launchGroups(launcher, gpu, ends[g] - begins[g], 1, begins, ends, g, g + 1, d, out);
                }
            }
        }
        return true;
    }

    private void launchGroups(Launcher launcher, Gpu gpu, long tokens, long used, long[] begins, long[] ends, int from,
            int to, Tensor d, Out out) {
        Choice choice = HopperChoices.grouped(gpu, tokens, used, a, b, out);
        HopperVariant v = choice.variant();
        long tiles = 0;
        for (int g = from; g < to; g++) {
            tiles += Math.ceilDiv(ends[g] - begins[g], (long) v.tokenSpan())
                    * Math.ceilDiv(b.rows, (long) v.channelSpan());
        }
        prepare(choice, HopperModel.clusters(v, choice.parts(), tiles, gpu), a.columns, d, null, Epilogue.NONE);
        table(begins, ends, from, to);
        launcher.launch(launch);
    }

    /** Writes where groups begin and end. */
    void table(long[] begins, long[] ends, int from, int to) {
        MemorySegment p = launch.arguments;
        setInt(p, 220, 1);
        for (int g = from; g < to; g++) {
            setInt(p, HopperLaunch.TABLE + 4L * (g - from), Math.toIntExact(begins[g]));
            setInt(p, HopperLaunch.TABLE + 4L * (HopperLaunch.MOST_GROUPS + g - from), Math.toIntExact(ends[g]));
        }
    }

    private boolean alongK(Launcher launcher, Gpu gpu, ScaledTensor ta, ScaledTensor tb, long[] offsets, Tensor d,
            @Nullable Tensor addend) {
        if (refusal(ta, tb) != null) {
            return false;
        }
        a.read(ta);
        b.read(tb);
        long bytes = a.stagedBytes() + b.stagedBytes();
        Tensor one = d.slice(0, 0, 1).reshape(d.dim(1), d.dim(2));
        Tensor oneAddend = addend == null ? null : addend.slice(0, 0, 1).reshape(addend.dim(1), addend.dim(2));
        Epilogue epilogue = new Epilogue(oneAddend, null, Activation.IDENTITY);
        synchronized (launcher.order()) {
            long at = bytes == 0 ? 0 : launcher.workspace(bytes);
            if (bytes != 0 && at == 0) {
                return false;
            }
            HopperOperand.stage(launcher, at, a, b);
            long codesA = a.codes;
            long codesB = b.codes;
            long scalesA = a.scales;
            long scalesB = b.scales;
            for (int g = 0; g < offsets.length - 1; g++) {
                long depth = offsets[g + 1] - offsets[g];
                // A group of no columns may begin anywhere, where no map can; it reads nothing.
                long k = depth == 0 ? 0 : offsets[g];
                a.codes = codesA + k;
                b.codes = codesB + k;
                a.scales = scalesA + k / HopperVariant.DEPTH * a.scalePitch * 4;
                b.scales = scalesB + k / HopperVariant.DEPTH * b.scalePitch * 4;
                Choice choice = HopperChoices.dense(gpu, a, b, Math.max(1, depth), Out.F32, addend != null, false);
                prepare(choice, choice.clusters(), depth, one, null, epilogue);
                setLong(launch.arguments, 32, d.address() + g * d.stride(0) * d.dtype().byteSize());
                if (addend != null) {
                    setLong(launch.arguments, 48,
                            addend.address() + g * addend.stride(0) * addend.dtype().byteSize());
                }
                launcher.launch(launch);
            }
        }
        return true;
    }

    // ---------------------------------------------------------------------------------------------- a launch

    /** {@return what the model needs to know} */
    static Work work(HopperOperand a, HopperOperand b, long[] rows, long depth, Out out, boolean epilogue) {
        return new Work(rows, Math.toIntExact(b.rows), Math.toIntExact(depth), a.vector, b.vector,
                a.format == DType.F8_E5M2, b.format == DType.F8_E5M2, out, epilogue);
    }

    /** {@return A, for tests that choose a variant} */
    HopperOperand a() {
        return a;
    }

    /** {@return B} */
    HopperOperand b() {
        return b;
    }

    /**
     * {@return the launch of a variant on both operands}
     *
     * @param choice the variant and its parts of K
     * @param clusters how many to launch
     * @param depth K
     * @param d {@code [tokens, channels]}, codes if the result is quantised
     * @param quantized the same with its scales, or null
     * @param epilogue what is done with the sums
     */
    HopperLaunch prepare(Choice choice, int clusters, long depth, Tensor d, @Nullable ScaledTensor quantized,
            Epilogue epilogue) {
        HopperVariant v = choice.variant();
        MemorySegment p = launch.arguments;
        launch.begin(v, clusters * choice.clusterBlocks(), choice.clusterBlocks());
        int left = v.swapped() ? 1 : 0;
        codes(left, a, depth, v.tokenTile(), v.share() == (v.swapped() ? Share.RIGHT : Share.LEFT));
        codes(1 - left, b, depth, v.channelTile(), v.share() == (v.swapped() ? Share.LEFT : Share.RIGHT));
        scales(2 + left, a, depth, v.tokenTile());
        scales(3 - left, b, depth, v.channelTile());
        result(v, d, quantized);

        // Where only one operand has blocks, its scales are the first; where both have, left's are.
        HopperOperand first = a.vector ? b : b.vector || !v.swapped() ? a : b;
        HopperOperand second = first == a ? b : a;
        if (!first.vector) {
            setLong(p, 16, first.scales);
            setLong(p, 120, first.scaleRow);
            setLong(p, 128, first.scalesApart);
            setInt(p, 144, (int) first.scaleStep);
            setInt(p, 156, first.e8m0 ? 1 : 0);
        }
        if (!first.vector && !second.vector) {
            setLong(p, 24, second.scales);
            setLong(p, 136, second.scaleRow);
            setInt(p, 148, (int) second.scaleStep);
            setInt(p, 160, second.e8m0 ? 1 : 0);
        }
        Tensor addend = epilogue.addend();
        Tensor bias = epilogue.bias();
        setLong(p, 0, 0);
        setLong(p, 8, 0);
        setLong(p, 48, addend == null ? 0 : addend.address());
        setLong(p, 56, bias == null ? 0 : bias.address());
        setLong(p, 96, addend == null ? 0 : addend.stride(0));
        setLong(p, 104, addend == null ? 0 : addend.stride(1));
        setLong(p, 112, bias == null ? 0 : bias.stride(0));
        setInt(p, 152, a.everyBlock ? 1 : 0);
        setInt(p, 164, (int) a.rows);
        setInt(p, 168, (int) b.rows);
        setInt(p, 172, (int) depth);
        setInt(p, 176, b.groups);
        setInt(p, 180, choice.band());
        setInt(p, 184, addend != null && addend.dtype() == DType.BF16 ? 1 : 0);
        setInt(p, 188, bias != null && bias.dtype() == DType.BF16 ? 1 : 0);
        setInt(p, 192, epilogue.activation() == Activation.SILU ? 1 : 0);
        // Weights that are read once should not push out the tokens that every block reads.
        boolean once = a.rows <= v.tokenTile();
        setInt(p, 212, v.swapped() && once ? 0 : 1);
        setInt(p, 216, !v.swapped() && once ? 0 : 1);
        setInt(p, 220, 0);
        return launch;
    }

    private void result(HopperVariant v, Tensor d, @Nullable ScaledTensor quantized) {
        MemorySegment p = launch.arguments;
        long pitch = d.dim(0) > 1 ? d.stride(0) : d.dim(1);
        long step = d.dim(1) > 1 ? d.stride(1) : 1;
        boolean store = v.out() == Out.BF16 && !v.swapped() && step == 1 && d.address() % 16 == 0 && pitch * 2 % 16 == 0
                && pitch >= d.dim(1) && pitch * 2 < 1L << 40;
        if (store) {
            launch.matrix(4, d.address(), Element.BF16, d.dim(1), d.dim(0), pitch * 2, v.line(), 64,
                    v.line() == 64 ? Swizzle.B128 : v.line() == 32 ? Swizzle.B64 : Swizzle.B32);
        }
        int wide = v.out() == Out.FP8 ? 8 : 4;
        setLong(p, 32, d.address());
        setLong(p, 64, pitch);
        setLong(p, 72, step);
        setInt(p, 204, store ? 1 : 0);
        setInt(p, 208, step == 1 && d.address() % ((long) wide * v.outBytes()) == 0 && pitch % wide == 0 ? 1 : 0);
        if (quantized != null) {
            setLong(p, 40, quantized.scales().address());
            setLong(p, 80, quantized.scales().stride(0));
            setLong(p, 88, quantized.scales().stride(1));
            setInt(p, 196, quantized.format() == DType.F8_E5M2 ? 1 : 0);
            setInt(p, 200, quantized.scaling().format().ordinal());
        }
    }

    private void codes(int map, HopperOperand o, long depth, int tile, boolean shared) {
        // A map of nothing there can't be; nothing is read through it.
        launch.codes(map, o.codes, Math.max(1, depth), o.rows, o.groups, o.pitch,
                o.groups > 1 ? o.apart : o.pitch * o.rows, shared ? tile / 2 : tile);
    }

    private void scales(int map, HopperOperand o, long depth, int tile) {
        if (o.vector) {
            long blocks = o.everyBlock ? Math.max(1, Math.ceilDiv(depth, (long) HopperVariant.DEPTH)) : 1;
            launch.matrix(map, o.scales, Element.F32, o.rows, blocks, o.scalePitch * 4, tile, 1, Swizzle.NONE);
        }
    }

    private static void setLong(MemorySegment p, long at, long value) {
        p.set(ValueLayout.JAVA_LONG, at, value);
    }

    private static void setInt(MemorySegment p, long at, int value) {
        p.set(ValueLayout.JAVA_INT, at, value);
    }
}
