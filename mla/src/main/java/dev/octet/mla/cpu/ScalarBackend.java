package dev.octet.mla.cpu;

import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.spi.CpuBackend;
import dev.octet.mla.AttentionOptions;
import dev.octet.mla.Ragged;
import dev.octet.mla.spi.MlaBackend;
import dev.octet.mla.spi.PagedLatents;
import org.jspecify.annotations.Nullable;

/** Backend {@code scalar}: plain Java, for JVMs without the Vector API. */
public final class ScalarBackend extends CpuBackend implements MlaBackend {
    private static final RecordKernels RECORDS = new RecordKernels();

    /** For the service loader. */
    public ScalarBackend() {
        super(Way.SCALAR);
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out, Execution execution) {
        RmsNormKernel.run(x, weight, eps, out, execution.pool());
    }

    @Override
    public void rope(Tensor x, int[] positions, float[] frequencies, float factor, Tensor out, Execution execution) {
        RopeKernel.run(x, positions, frequencies, factor, out, execution.pool());
    }

    @Override
    public void projectHeads(Tensor x, Tensor weight, Tensor out, Execution execution) {
        ScalarHeadProjection.project(x, weight, out, execution.pool());
    }

    @Override
    public void write(Tensor latent, Tensor ropeKeys, PagedLatents target, int[] from, Execution execution) {
        Records.write(RECORDS, latent, ropeKeys, target, from, execution.pool());
    }

    @Override
    public void read(PagedLatents source, int[] from, Tensor latent, Tensor ropeKeys, Execution execution) {
        Records.read(RECORDS, source, from, latent, ropeKeys, execution.pool());
    }

    @Override
    public void decode(Tensor query, PagedLatents keys, int[] queries, AttentionOptions options, Tensor out,
            @Nullable Tensor lse, Execution execution) {
        ScalarAttention.CPU.decode(query, keys, queries, options, out, lse, execution);
    }

    @Override
    public void prefill(Tensor query, Tensor keys, @Nullable Tensor ropeKeys, Tensor values, Ragged lengths,
            AttentionOptions options, Tensor out, @Nullable Tensor lse, Execution execution) {
        ScalarAttention.CPU.prefill(query, keys, ropeKeys, values, lengths, options, out, lse, execution);
    }

    @Override
    public void merge(Tensor outA, Tensor lseA, Tensor outB, Tensor lseB, Tensor out, Tensor lse,
            Execution execution) {
        ScalarAttention.CPU.merge(outA, lseA, outB, lseB, out, lse, execution);
    }
}
