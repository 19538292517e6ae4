package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every operation on tensors of more than 2^31 elements: their rows lie 2^30 elements apart in mapped files that are
 * mostly holes, so that they take neither memory nor disk. Results must be those of small tensors, to the bit.
 */
@Tag("backend")
class LargeTensorTest {
    private static final long APART = (1L << 30) + 13;
    private static final int TOKENS = 3;
    private static final int WIDTH = 200;
    private static final Scaling ACTIVATION = new Scaling(Granularity.BLOCK_1X128, ScaleFormat.F32);

    @TempDir
    Path folder;
    private int files;

    /** What an operation reads and writes, small or large. */
    private interface Memory {
        Tensor of(Tensor t);
    }

    /** What an operation does; it returns all that it has written. */
    private interface Operation {
        Tensor[] run(Memory memory, Moe moe);
    }

    private Tensor spread(Tensor t, Arena arena) {
        long rows = t.dim(0);
        assertTrue((rows - 1) * APART > Integer.MAX_VALUE);
        Path file = folder.resolve("spread" + files++);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.READ,
                StandardOpenOption.WRITE, StandardOpenOption.SPARSE)) {
            MemorySegment all = channel.map(FileChannel.MapMode.READ_WRITE, 0, rows * APART * t.dtype().byteSize(), arena);
            Tensor large = Tensor.wrap(all, t.dtype(), Shape.of(rows, APART)).slice(1, 0, t.dim(1));
            large.copyFrom(t);
            return large;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void check(String backend, Operation operation) {
        try (CpuPool pool = new CpuPool(2); Arena arena = Arena.ofShared()) {
            Moe moe = Moe.on(backend).with(pool);
            Tensor[] small = operation.run(t -> t, moe);
            Tensor[] large = operation.run(t -> spread(t, arena), moe);
            for (int i = 0; i < small.length; i++) {
                try (Tensor copy = large[i].copy()) {
                    assertEquals(-1, small[i].copy().segment().mismatch(copy.segment()), "output " + i);
                }
            }
        }
    }

    private static Tensor normal(int seed, DType dtype, long rows, long columns) {
        SplittableRandom r = new SplittableRandom(seed);
        Tensor t = Tensor.allocate(dtype, Shape.of(rows, columns));
        for (long i = 0; i < rows * columns; i++) {
            float value = (float) r.nextGaussian();
            if (dtype == DType.F32) {
                t.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
            } else {
                t.segment().setAtIndex(ValueLayout.JAVA_SHORT, i, BFloat16.fromFloat(value));
            }
        }
        return t;
    }

    private static Tensor zeros(DType dtype, long rows, long columns) {
        return Tensor.allocate(dtype, Shape.of(rows, columns));
    }

    private static Routing routing(Memory memory) {
        Routing r = Routings.of(new int[][] {{1, 0}, {0, -1}, {1, 0}});
        return new Routing(memory.of(r.experts()), memory.of(r.weights()));
    }

    private static ScaledTensor scaled(Memory memory, Tensor codes, Tensor scales) {
        return new ScaledTensor(memory.of(codes), memory.of(scales), ACTIVATION);
    }

    @ParameterizedTest
    @MethodSource("dev.octet.moe.TestedBackends#names")
    void routerGateAndReplay(String backend) {
        check(backend, (memory, moe) -> {
            Tensor logits = memory.of(zeros(DType.F32, TOKENS, 256));
            moe.routerLogits(memory.of(normal(1, DType.BF16, TOKENS, WIDTH)),
                    normal(2, DType.BF16, 256, WIDTH), logits);
            Routing out = new Routing(memory.of(zeros(DType.I32, TOKENS, 8)), memory.of(zeros(DType.F32, TOKENS, 8)));
            moe.gate(logits, null, GateConfig.V3, GateOptions.NONE, out);
            Routing again = new Routing(memory.of(zeros(DType.I32, TOKENS, 8)), memory.of(zeros(DType.F32, TOKENS, 8)));
            moe.replay(logits, out.experts(), GateConfig.V3, again);
            return new Tensor[] {logits, out.experts(), out.weights(), again.experts(), again.weights()};
        });
    }

    @ParameterizedTest
    @MethodSource("dev.octet.moe.TestedBackends#names")
    void permutation(String backend) {
        check(backend, (memory, moe) -> {
            Routing routing = routing(memory);
            TokenPermutation p = TokenPermutation.of(routing, 2, 1);
            Tensor tokens = memory.of(normal(3, DType.BF16, TOKENS, WIDTH));
            Tensor expanded = memory.of(zeros(DType.BF16, p.positions(), WIDTH));
            moe.expand(p, tokens, routing.weights(), expanded);
            Tensor reduced = memory.of(zeros(DType.F32, TOKENS, WIDTH));
            moe.reduce(p, expanded, routing.weights(), reduced);
            Tensor gradients = memory.of(zeros(DType.F32, TOKENS, 2));
            moe.weightGradients(p, expanded, reduced, gradients);
            ScaledTensor codes = scaled(memory, zeros(DType.F8_E4M3, TOKENS, WIDTH), zeros(DType.F32, TOKENS, 2));
            Fp8.auto().quantize(tokens, codes);
            ScaledTensor sorted = scaled(memory, zeros(DType.F8_E4M3, p.positions(), WIDTH),
                    zeros(DType.F32, p.positions(), 2));
            moe.expand(p, codes, sorted);
            return new Tensor[] {expanded, reduced, gradients, sorted.codes(), sorted.scales()};
        });
    }

    @ParameterizedTest
    @MethodSource("dev.octet.moe.TestedBackends#names")
    void experts(String backend) {
        check(backend, (memory, moe) -> {
            ScaledTensor activated = scaled(memory, zeros(DType.F8_E4M3, TOKENS, WIDTH),
                    zeros(DType.F32, TOKENS, 2));
            moe.swiglu(memory.of(normal(4, DType.F32, TOKENS, 2 * WIDTH)), null, activated);
            Tensor out = memory.of(zeros(DType.BF16, TOKENS, 256));
            try (ExpertWeights weights = ExpertWeights.random(256, 128, 2, 128, 5)) {
                new ExpertMlp(weights, RoutingWeight.AFTER_DOWN).on(backend).run(
                        memory.of(normal(6, DType.BF16, TOKENS, 256)), routing(memory), out);
            }
            return new Tensor[] {activated.codes(), activated.scales(), out};
        });
    }
}
