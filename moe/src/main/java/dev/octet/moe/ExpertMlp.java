package dev.octet.moe;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Tensor;
import dev.octet.core.TensorAccess;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.NativeMemory;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.Scaling;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.Objects;

/**
 * The experts of a layer on tokens that a gate has routed (DeepSeek-V3 &sect;2.1.2, equation 12, without the residual;
 * precisions of &sect;3.3.2):
 * {@snippet lang=text :
 * out[t] = SUM over slots j of weight[t, j] * expert[t, j](x[t]) + shared(x[t])
 * expert(x) = down * q(silu(gate * q(x)) * (up * q(x)))          q: E4M3 with scales 1x128
 * }
 * Each token is quantised once and its codes are copied to its experts. A grouped GEMM makes gate and up projections of
 * all experts, SwiGLU is quantised in the pass that computes it, another grouped GEMM makes the down projections, and a
 * token's rows are added in FP32 in the order of its slots, those of shared experts last. The result is rounded once.
 * Weights of experts without tokens are not read.
 *
 * <p>A token's result has the same bits for any number of threads, and wherever in the batch the token stands. It may
 * differ in the last bits with what else is in the batch: an expert's products are added in one order for up to 8
 * tokens and in another for more.
 *
 * <p>Instances are immutable and safe for use by several threads, on different outputs, while the weights are open.
 */
public final class ExpertMlp {
    private final ExpertWeights weights;
    private final RoutingWeight place;
    private final Fp8 fp8;
    private final Moe moe;
    private final Scaling scaling;

    private ExpertMlp(ExpertWeights weights, RoutingWeight place, Fp8 fp8, Moe moe) {
        this.weights = Objects.requireNonNull(weights, "weights");
        this.place = Objects.requireNonNull(place, "place");
        this.fp8 = fp8;
        this.moe = moe;
        scaling = new Scaling(Granularity.BLOCK_1X128, weights.scaleFormat());
    }

    /**
     * Experts on the best backend. Activations are quantised with scales of the weights' format.
     *
     * @param weights of the layer; must stay open while operations run
     * @param place where routing weights come in
     */
    public ExpertMlp(ExpertWeights weights, RoutingWeight place) {
        this(weights, place, Fp8.auto(), Moe.auto());
    }

    /**
     * {@return the same on one backend}
     *
     * @param backend its name: {@code native}, {@code cpu}, {@code scalar} or {@code reference}
     * @throws IllegalArgumentException if there is no such backend or it can't run here; the message has the reason
     */
    public ExpertMlp on(String backend) {
        return new ExpertMlp(weights, place, Fp8.on(backend), Moe.on(backend));
    }

    /**
     * {@return the same on another pool of CPU threads}
     *
     * @param pool the threads; must stay open while operations run
     */
    public ExpertMlp with(CpuPool pool) {
        return new ExpertMlp(weights, place, fp8.with(pool), moe.with(pool));
    }

    /** {@return the weights} */
    public ExpertWeights weights() {
        return weights;
    }

    /**
     * Runs all tokens through their experts.
     *
     * @param hidden {@code [tokens, hidden]} of F32 or BF16, of any strides
     * @param routing the tokens' experts and weights; -1 for slots without an expert, or whose expert lives elsewhere
     * @param out {@code [tokens, hidden]} of F32 or BF16, of any strides, not overlapping the inputs; all of it is
     *     written
     * @throws IllegalArgumentException if a shape, dtype or device does not fit, or the routing names an expert that
     *     there is not or whose weights are not held; the message names it, and nothing was written
     * @throws IllegalStateException if a tensor, the weights or the pool is closed
     */
    public void run(Tensor hidden, Routing routing, Tensor out) {
        requireTokens("hidden", hidden);
        requireTokens("out", out);
        if (!out.shape().equals(hidden.shape())) {
            throw new IllegalArgumentException("out has shape " + out.shape() + ", it must be that of hidden, "
                    + hidden.shape());
        }
        if (routing.tokens() != hidden.dim(0)) {
            throw new IllegalArgumentException("routing has " + routing.tokens() + " tokens, hidden has "
                    + hidden.dim(0));
        }
        requireOpen("routing.experts", routing.experts().isOpen());
        requireOpen("routing.weights", routing.weights().isOpen());
        requireOpen("weights", weights.isOpen());
        TensorAccess.writable("out", out);
        try (ActiveExperts active = ActiveExperts.mine()) {
            TokenPermutation p = active.permutation(routing, weights.experts());
            active.find(p, weights);
            if (hidden.dim(0) > 0) {
                run(hidden, routing, p, active, out);
            }
        } finally {
            Reference.reachabilityFence(weights);
        }
    }

    private void requireTokens(String name, Tensor t) {
        if (t.dtype() != DType.F32 && t.dtype() != DType.BF16) {
            throw new IllegalArgumentException(name + " is " + t.dtype() + ", it must be F32 or BF16");
        }
        if (t.shape().rank() != 2 || t.dim(1) != weights.hidden()) {
            throw new IllegalArgumentException(name + " has shape " + t.shape() + ", it must be [tokens, "
                    + weights.hidden() + "]");
        }
        if (!t.device().equals(Device.CPU)) {
            throw new IllegalArgumentException(name + " is on " + t.device() + ", it must be on the CPU");
        }
        requireOpen(name, t.isOpen());
    }

    private static void requireOpen(String name, boolean open) {
        if (!open) {
            throw new IllegalStateException(name + " is closed");
        }
    }

    private void run(Tensor hidden, Routing routing, TokenPermutation p, ActiveExperts active, Tensor out) {
        ExpertWeights.Expert shared = weights.shared();
        try (Workspace work = Workspace.of(Workspace.Sizes.of(weights, hidden.dim(0), p.positions(), scaling))) {
            fp8.quantize(hidden, work.tokens);
            if (p.positions() > 0) {
                moe.expand(p, work.tokens, work.sorted);
                fp8.groupedGemm(work.sorted, active.offsets(), active.gateUp(), work.gateUp);
                if (place == RoutingWeight.BEFORE_DOWN) {
                    gather(p, routing, work.rowWeights);
                }
                moe.swiglu(work.gateUp, place == RoutingWeight.BEFORE_DOWN ? work.rowWeights : null, work.activated);
                fp8.groupedGemm(work.activated, active.offsets(), active.down(), work.down);
            }
            Tensor sum = shared == null ? out : work.sum;
            moe.reduce(p, work.down, place == RoutingWeight.AFTER_DOWN ? routing.weights() : null, sum);
            if (shared != null) {
                fp8.gemm(work.tokens, shared.gateUp(), work.sharedGateUp, Epilogue.NONE);
                moe.swiglu(work.sharedGateUp, null, work.sharedActivated);
                fp8.gemm(work.sharedActivated, shared.down(), out, Epilogue.NONE.withAddend(sum));
            }
        }
    }

    private static void gather(TokenPermutation p, Routing routing, Tensor to) {
        Tensor w = routing.weights();
        for (int i = 0; i < p.positions(); i++) {
            long at = p.tokenAt(i) * w.stride(0) + p.slotAt(i) * w.stride(1);
            NativeMemory.ALL.set(ValueLayout.JAVA_FLOAT_UNALIGNED, to.address() + (long) Float.BYTES * i,
                    NativeMemory.ALL.get(ValueLayout.JAVA_FLOAT_UNALIGNED, w.address() + Float.BYTES * at));
        }
    }
}
