package dev.octet.mla.cpu;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.fp8.Fp8Codec;
import dev.octet.mla.CacheFormat;
import dev.octet.mla.spi.PagedLatents;
import java.lang.foreign.ValueLayout;

/** The absorbed form: keys are the records of a cache, values their latents. */
final class CachedKeys implements AttentionInput {
    private final AttentionKernels kernels;
    private final PagedLatents latents;
    private final int[] queries;
    private final long[] firstQuery;
    private final int heads;
    private final long address;
    private final boolean bf16;
    private final int rank;
    private final int ropeDim;
    private final int bytesPerToken;
    private final int pageSize;

    CachedKeys(AttentionKernels kernels, PagedLatents latents, int[] queries, int heads) {
        this.kernels = kernels;
        this.latents = latents;
        this.queries = queries;
        this.heads = heads;
        firstQuery = firsts(queries);
        address = latents.pages().shape().elements() == 0 ? 0 : latents.pages().address();
        bf16 = latents.format() == CacheFormat.BF16;
        rank = latents.kvLoraRank();
        ropeDim = latents.ropeDim();
        bytesPerToken = latents.bytesPerToken();
        pageSize = latents.pageSize();
    }

    /** {@return sums of all lengths before each} */
    static long[] firsts(int[] lengths) {
        long[] firsts = new long[lengths.length];
        for (int i = 1; i < lengths.length; i++) {
            firsts[i] = firsts[i - 1] + lengths[i - 1];
        }
        return firsts;
    }

    @Override
    public int sequences() {
        return queries.length;
    }

    @Override
    public int groups() {
        return 1;
    }

    @Override
    public int rowsPerQuery() {
        return heads;
    }

    @Override
    public int queries(int sequence) {
        return queries[sequence];
    }

    @Override
    public int keys(int sequence) {
        return latents.lengths()[sequence];
    }

    @Override
    public long firstQuery(int sequence) {
        return firstQuery[sequence];
    }

    @Override
    public int keyDims() {
        return rank + ropeDim;
    }

    @Override
    public int valueDims() {
        return rank;
    }

    @Override
    public boolean valuesAreKeys() {
        return true;
    }

    @Override
    public int leastKeys() {
        return 256;
    }

    @Override
    public int place(int dim) {
        return bf16 || dim >= rank ? dim : kernels.codePlace(dim);
    }

    @Override
    public int touch(int sequence, int group, int token, int tokens) {
        int[] table = latents.tables()[sequence];
        int touched = 0;
        int end = token + tokens;
        while (token < end) {
            int page = token / pageSize;
            int slot = token - page * pageSize;
            int run = Math.min(pageSize - slot, end - token);
            long from = address + ((long) table[page] * pageSize + slot) * bytesPerToken;
            touched += touch(from, from + (long) run * bytesPerToken);
            token += run;
        }
        return touched;
    }

    /** Loads something from each line, in order: the hardware's stream then runs ahead at the memory's speed. */
    private static int touch(long from, long end) {
        int sum = 0;
        for (long at = from; at <= end - 4; at += 64) {
            sum += ALL.get(ValueLayout.JAVA_INT_UNALIGNED, at);
        }
        return sum;
    }

    @Override
    public void loadKey(int sequence, int group, int token, float[] k, float[] v, int slot) {
        int page = token / pageSize;
        long index = (long) latents.tables()[sequence][page] * pageSize + (token - page * pageSize);
        long record = address + index * bytesPerToken;
        if (bf16) {
            kernels.loadKey(record, true, rank + ropeDim, k, slot, 0);
        } else {
            long scales = record + rank;
            kernels.loadCodes(record, scales, rank, k, slot);
            kernels.loadKey(scales + rank / CacheFormat.TILE * 4L, true, ropeDim, k, slot, rank);
        }
    }

    /** Decodes a latent code by code, with whatever is among the codes and scales. */
    static void loadCodes(AttentionKernels kernels, long codes, long scales, int n, float[] k, int key) {
        for (int i = 0; i < n; i++) {
            float scale = ALL.get(ValueLayout.JAVA_FLOAT_UNALIGNED, scales + i / CacheFormat.TILE * 4L);
            k[AttentionKernels.at(key, kernels.codePlace(i))] =
                    Fp8Codec.decodeE4M3(ALL.get(ValueLayout.JAVA_BYTE, codes + i)) * scale;
        }
    }
}
