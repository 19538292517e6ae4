package dev.octet.mla.ffm;

import dev.octet.core.Device;
import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuConfig;
import dev.octet.core.ffi.InstructionSet;
import dev.octet.core.spi.Backend;
import dev.octet.mla.AttentionOptions;
import dev.octet.mla.Ragged;
import dev.octet.mla.cpu.ScalarBackend;
import dev.octet.mla.cpu.VectorBackend;
import dev.octet.mla.spi.MlaBackend;
import dev.octet.mla.spi.PagedLatents;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Backend {@code native}: attention and one matrix for each head in C, for instruction sets that the Vector API does
 * not reach. What it has no kernel for is done by the backend that would run without it. This class itself loads without the library.
 */
public final class NativeBackend implements MlaBackend {
    /** What there are kernels for. */
    private static final Set<String> NATIVE = Set.of("mla.decode", "mla.prefill", "mla.projectHeads");

    private final MlaBackend other = CpuConfig.vectorBits() == 0 ? new ScalarBackend() : new VectorBackend();

    /** For the service loader. */
    public NativeBackend() {}

    @Override
    public String name() {
        return "native";
    }

    @Override
    public Device.Kind deviceKind() {
        return Device.Kind.CPU;
    }

    /** Above the Vector API's, which is slower with each of the instruction sets. */
    @Override
    public int priority() {
        return 200;
    }

    @Override
    public Optional<String> unavailable() {
        return MlaLibrary.unavailable();
    }

    @Override
    public String description() {
        return MlaLibrary.level().id() + ", " + CpuConfig.threads() + " threads";
    }

    @Override
    public Backend doing(String operation) {
        return NATIVE.contains(operation) ? this : other;
    }

    /**
     * {@return whether decode takes FP32 queries and weights as sums of two BF16 numbers, 16 bits of them; else
     * products are of FP32}
     */
    public static boolean splitsOperands() {
        return MlaLibrary.level() == InstructionSet.AVX512_BF16;
    }

    /** {@return whether the library is there and has nothing for this processor} */
    public static boolean lacksKernels() {
        return MlaLibrary.lacksKernels();
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out, Execution execution) {
        other.rmsNorm(x, weight, eps, out, execution);
    }

    @Override
    public void rope(Tensor x, int[] positions, float[] frequencies, float factor, Tensor out, Execution execution) {
        other.rope(x, positions, frequencies, factor, out, execution);
    }

    @Override
    public void projectHeads(Tensor x, Tensor weight, Tensor out, Execution execution) {
        if (NativeHeads.takes(x, weight)) {
            NativeHeads.project(x, weight, out, execution.pool());
        } else {
            other.projectHeads(x, weight, out, execution);
        }
    }

    @Override
    public void write(Tensor latent, Tensor ropeKeys, PagedLatents target, int[] from, Execution execution) {
        other.write(latent, ropeKeys, target, from, execution);
    }

    @Override
    public void read(PagedLatents source, int[] from, Tensor latent, Tensor ropeKeys, Execution execution) {
        other.read(source, from, latent, ropeKeys, execution);
    }

    @Override
    public void decode(Tensor query, PagedLatents keys, int[] queries, AttentionOptions options, Tensor out,
            @Nullable Tensor lse, Execution execution) {
        if (!NativeRecords.takes(keys)) {
            other.decode(query, keys, queries, options, out, lse, execution);
        } else if (MlaLibrary.level() == InstructionSet.AVX2) {
            new NativeAttention(query, keys, queries, options, out, lse).run(execution.pool());
        } else {
            new NativeDecode(query, keys, queries, options, out, lse).run(execution.pool());
        }
    }

    @Override
    public void prefill(Tensor query, Tensor keys, @Nullable Tensor ropeKeys, Tensor values, Ragged lengths,
            AttentionOptions options, Tensor out, @Nullable Tensor lse, Execution execution) {
        if (NativeAttention.takes(query.dim(2), values.dim(2))) {
            new NativeAttention(query, keys, ropeKeys, values, lengths, options, out, lse).run(execution.pool());
        } else {
            other.prefill(query, keys, ropeKeys, values, lengths, options, out, lse, execution);
        }
    }

    @Override
    public void merge(Tensor outA, Tensor lseA, Tensor outB, Tensor lseB, Tensor out, Tensor lse,
            Execution execution) {
        other.merge(outA, lseA, outB, lseB, out, lse, execution);
    }
}
