package dev.octet.benchmarks.peer;

import dev.octet.core.DType;
import dev.octet.moe.GateConfig;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** DeepSeek-V3's gate as it is written in PyTorch: sigmoid, topk in groups, of groups and of experts, gather. */
public final class TorchGate implements AutoCloseable {
    private static final GateConfig CONFIG = GateConfig.V3;

    private final long tokens;
    private final Tensor logits;
    private final Tensor bias;

    /**
     * Makes random logits and a random bias.
     *
     * @param threads how many threads work
     * @param tokens how many tokens
     */
    public TorchGate(int threads, long tokens) {
        LibTorch.useThreads(threads);
        this.tokens = tokens;
        logits = torch.randn(new long[] {tokens, CONFIG.experts()}, LibTorch.options(DType.F32));
        bias = torch.randn(new long[] {CONFIG.experts()}, LibTorch.options(DType.F32)).mul(new Scalar(0.05));
    }

    /** Chooses experts and computes their weights. */
    public void run() {
        PointerScope between = new PointerScope(); // frees all tensors that are made before it is closed
        try (between) {
            Tensor scores = torch.sigmoid(logits);
            Tensor inGroups = scores.add(bias).view(new long[] {tokens, CONFIG.groups(), CONFIG.groupSize()});
            Tensor value = torch.topk(inGroups, 2, -1, true, false).get0().sum(-1);
            Tensor kept = torch.topk(value, CONFIG.keptGroups(), -1, true, false).get1();
            Tensor dropped = torch.ones_like(value).scatter_(1, kept, new Scalar(0.0)).to(torch.ScalarType.Bool);
            Tensor allowed = inGroups.masked_fill(dropped.unsqueeze(-1), new Scalar(Double.NEGATIVE_INFINITY))
                    .view(new long[] {tokens, CONFIG.experts()});
            T_TensorTensor_T best = torch.topk(allowed, CONFIG.topK(), -1, true, true);
            Tensor weights = scores.gather(1, best.get1());
            weights.div_(weights.sum(new long[] {-1}, true, new ScalarTypeOptional()));
            weights.mul_(new Scalar((double) CONFIG.scale()));
        }
    }

    /** Frees the operands. */
    @Override
    public void close() {
        logits.close();
        bias.close();
    }
}
