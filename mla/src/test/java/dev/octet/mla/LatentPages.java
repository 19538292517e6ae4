package dev.octet.mla;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.Overflow;
import dev.octet.mla.spi.PagedLatents;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.random.RandomGenerator;

/**
 * A cache's pages, written value by value and apart from the library's own cache. What no token owns is full of NaN,
 * and entries of the tables beyond a sequence's length lead nowhere.
 *
 * @param paged what a backend sees
 * @param rows {@code [sequence][token][kvLoraRank + ropeDim]}: what its records say
 */
record LatentPages(PagedLatents paged, double[][][] rows) {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /**
     * Encodes tokens into shuffled pages.
     *
     * @param values {@code [sequence][token][kvLoraRank + ropeDim]}
     */
    static LatentPages encode(Arena arena, RandomGenerator random, CacheFormat format, int kvLoraRank, int ropeDim,
            int pageSize, float[][][] values) {
        int sequences = values.length;
        int[] lengths = new int[sequences];
        int used = 0;
        for (int s = 0; s < sequences; s++) {
            lengths[s] = values[s].length;
            used += Math.ceilDiv(lengths[s], pageSize);
        }
        int[] free = shuffled(random, used + 3);
        int taken = 0;
        int[][] tables = new int[sequences][];
        for (int s = 0; s < sequences; s++) {
            int pages = Math.ceilDiv(lengths[s], pageSize);
            tables[s] = Arrays.copyOf(Arrays.copyOfRange(free, taken, taken + pages), pages + 2);
            tables[s][pages] = -1;
            tables[s][pages + 1] = Integer.MAX_VALUE;
            taken += pages;
        }
        int bytes = format.bytesPerToken(kvLoraRank, ropeDim);
        Tensor records = Tensor.allocate(arena, DType.U8, Shape.of(free.length, pageSize, bytes));
        records.segment().fill((byte) 0xFF);
        PagedLatents paged = new PagedLatents(format, kvLoraRank, ropeDim, records, tables, lengths);
        double[][][] rows = new double[sequences][][];
        for (int s = 0; s < sequences; s++) {
            rows[s] = new double[lengths[s]][];
            for (int t = 0; t < lengths[s]; t++) {
                rows[s][t] = write(paged, s, t, values[s][t]);
            }
        }
        return new LatentPages(paged, rows);
    }

    /** Normally distributed latents and keys, the latents about 1 as after RMSNorm, the keys somewhat larger. */
    static float[][][] gaussian(RandomGenerator random, int kvLoraRank, int ropeDim, int... lengths) {
        float[][][] values = new float[lengths.length][][];
        for (int s = 0; s < lengths.length; s++) {
            values[s] = new float[lengths[s]][kvLoraRank + ropeDim];
            for (float[] row : values[s]) {
                for (int c = 0; c < row.length; c++) {
                    row[c] = (float) (random.nextGaussian() * (c < kvLoraRank ? 1 : 2));
                }
            }
        }
        return values;
    }

    private static int[] shuffled(RandomGenerator random, int n) {
        int[] order = new int[n];
        for (int i = 0; i < n; i++) {
            int j = random.nextInt(i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        return order;
    }

    /** Writes one record and returns what it says. */
    static double[] write(PagedLatents paged, int sequence, int token, float[] values) {
        MemorySegment record = paged.pages().segment().asSlice(paged.offset(sequence, token), paged.bytesPerToken());
        int latent = paged.kvLoraRank();
        double[] row = new double[values.length];
        long at = 0;
        if (paged.format() != CacheFormat.BF16) {
            for (int tile = 0; tile < latent; tile += CacheFormat.TILE) {
                writeTile(record, tile, latent, paged.format(), values, row);
            }
            at = latent + latent / CacheFormat.TILE * 4L;
        }
        for (int c = at == 0 ? 0 : latent; c < values.length; c++) {
            short bits = BFloat16.fromFloat(values[c]);
            record.set(I16, at, bits);
            row[c] = BFloat16.toFloat(bits);
            at += 2;
        }
        return row;
    }

    private static void writeTile(MemorySegment record, int tile, int latent, CacheFormat format, float[] values,
            double[] row) {
        float amax = 0;
        for (int c = tile; c < tile + CacheFormat.TILE; c++) {
            amax = Math.max(amax, Math.abs(values[c]));
        }
        float scale = format == CacheFormat.FP8
                ? Fp8Codec.ceilPowerOfTwo(Math.max(amax / 448f, 1e-4f)) : Math.max(amax, 1e-4f) / 448f;
        record.set(F32, latent + tile / CacheFormat.TILE * 4L, scale);
        for (int c = tile; c < tile + CacheFormat.TILE; c++) {
            byte code = Fp8Codec.encodeE4M3(values[c] * (1 / scale), Overflow.SATURATE);
            record.set(ValueLayout.JAVA_BYTE, c, code);
            row[c] = Fp8Codec.decodeE4M3(code) * scale;
        }
    }
}
