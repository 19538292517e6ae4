package dev.octet.mla.reference;

import dev.octet.core.BFloat16;
import dev.octet.fp8.Fp8Codec;
import dev.octet.mla.CacheFormat;
import dev.octet.mla.spi.PagedLatents;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** Reads a cache's records value by value, as {@link CacheFormat} lays them out. */
final class LatentRecords {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private LatentRecords() {}

    /** {@return {@code [tokens][kvLoraRank + ropeDim]} of one sequence: latents with the rotary keys behind them} */
    static double[][] rows(PagedLatents cache, int sequence) {
        MemorySegment pages = cache.pages().segment();
        double[][] rows = new double[cache.lengths()[sequence]][];
        for (int t = 0; t < rows.length; t++) {
            rows[t] = row(cache, pages, cache.offset(sequence, t));
        }
        return rows;
    }

    private static double[] row(PagedLatents cache, MemorySegment pages, long at) {
        int latent = cache.kvLoraRank();
        int ropeDim = cache.ropeDim();
        double[] row = new double[latent + ropeDim];
        long rope;
        if (cache.format() == CacheFormat.BF16) {
            for (int c = 0; c < latent; c++) {
                row[c] = BFloat16.toFloat(pages.get(I16, at + 2L * c));
            }
            rope = at + 2L * latent;
        } else {
            long scales = at + latent;
            for (int c = 0; c < latent; c++) {
                float code = Fp8Codec.decodeE4M3(pages.get(ValueLayout.JAVA_BYTE, at + c));
                row[c] = code * pages.get(F32, scales + 4L * (c / CacheFormat.TILE)); // rounded to FP32
            }
            rope = scales + 4L * (latent / CacheFormat.TILE);
        }
        for (int c = 0; c < ropeDim; c++) {
            row[latent + c] = BFloat16.toFloat(pages.get(I16, rope + 2L * c));
        }
        return row;
    }
}
