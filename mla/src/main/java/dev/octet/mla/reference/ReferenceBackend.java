package dev.octet.mla.reference;

import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.spi.CpuBackend;
import dev.octet.mla.AttentionOptions;
import dev.octet.mla.Ragged;
import dev.octet.mla.spi.MlaBackend;
import dev.octet.mla.spi.PagedLatents;
import org.jspecify.annotations.Nullable;

/** Backend {@code reference}: plain loops in FP64, one rounding at the end. */
public final class ReferenceBackend extends CpuBackend implements MlaBackend {
    /** For the service loader. */
    public ReferenceBackend() {
        super(Way.REFERENCE);
    }

    @Override
    public void rmsNorm(Tensor x, Tensor weight, float eps, Tensor out, Execution execution) {
        ReferenceElementwise.rmsNorm(x, weight, eps, out);
    }

    @Override
    public void rope(Tensor x, int[] positions, float[] frequencies, float factor, Tensor out, Execution execution) {
        ReferenceElementwise.rope(x, positions, frequencies, factor, out);
    }

    @Override
    public void projectHeads(Tensor x, Tensor weight, Tensor out, Execution execution) {
        ReferenceHeadProjection.project(x, weight, out);
    }

    @Override
    public void write(Tensor latent, Tensor ropeKeys, PagedLatents target, int[] from, Execution execution) {
        ReferenceRecords.write(latent, ropeKeys, target, from);
    }

    @Override
    public void read(PagedLatents source, int[] from, Tensor latent, Tensor ropeKeys, Execution execution) {
        ReferenceRecords.read(source, from, latent, ropeKeys);
    }

    @Override
    public void decode(Tensor query, PagedLatents keys, int[] queries, AttentionOptions options, Tensor out,
            @Nullable Tensor lse, Execution execution) {
        AttentionTensors.decode(query, keys, queries, options, out, lse);
    }

    @Override
    public void prefill(Tensor query, Tensor keys, @Nullable Tensor ropeKeys, Tensor values, Ragged lengths,
            AttentionOptions options, Tensor out, @Nullable Tensor lse, Execution execution) {
        AttentionTensors.prefill(query, keys, ropeKeys, values, lengths, options, out, lse);
    }

    @Override
    public void merge(Tensor outA, Tensor lseA, Tensor outB, Tensor lseB, Tensor out, Tensor lse,
            Execution execution) {
        AttentionTensors.merge(outA, lseA, outB, lseB, out, lse);
    }
}
