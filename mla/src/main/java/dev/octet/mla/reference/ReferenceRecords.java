package dev.octet.mla.reference;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.Overflow;
import dev.octet.mla.CacheFormat;
import dev.octet.mla.spi.PagedLatents;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** The records of a cache, value by value. */
final class ReferenceRecords {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfByte I8 = ValueLayout.JAVA_BYTE;

    private ReferenceRecords() {}

    static void write(Tensor latent, Tensor ropeKeys, PagedLatents target, int[] from) {
        MemorySegment pages = target.pages().segment();
        CacheFormat format = target.format();
        int rank = target.kvLoraRank();
        long row = 0;
        for (int s = 0; s < target.sequences(); s++) {
            for (int token = from[s]; token < target.lengths()[s]; token++, row++) {
                long record = target.offset(s, token);
                if (format == CacheFormat.BF16) {
                    writeBF16(latent, row, rank, pages, record);
                } else {
                    for (int tile = 0; tile < rank / CacheFormat.TILE; tile++) {
                        float scale = writeTile(format, latent, row, tile, pages, record);
                        pages.set(F32, record + format.scalesOffset(rank) + 4L * tile, scale);
                    }
                }
                writeBF16(ropeKeys, row, target.ropeDim(), pages, record + format.ropeKeyOffset(rank));
            }
        }
    }

    private static void writeBF16(Tensor x, long row, int n, MemorySegment pages, long at) {
        for (int i = 0; i < n; i++) {
            long element = row * x.stride(0) + i * x.stride(1);
            pages.set(I16, at + 2L * i, x.dtype() == DType.BF16 ? x.segment().get(I16, 2 * element)
                    : BFloat16.fromFloat(x.segment().get(F32, 4 * element)));
        }
    }

    private static float writeTile(CacheFormat format, Tensor x, long row, int tile, MemorySegment pages, long record) {
        int begin = tile * CacheFormat.TILE;
        float amax = 0;
        for (int i = begin; i < begin + CacheFormat.TILE; i++) {
            amax = Math.max(amax, Math.abs(x.getFloat(row, i))); // NaN if one of them is
        }
        float scale = format.scale(amax);
        float factor = 1f / scale;
        for (int i = begin; i < begin + CacheFormat.TILE; i++) {
            float y = x.getFloat(row, i) * factor;
            // The sign of a product that is NaN is up to the processor; here it is always positive.
            pages.set(I8, record + i, Fp8Codec.encodeE4M3(Float.isNaN(y) ? Float.NaN : y, Overflow.SATURATE));
        }
        return Float.isNaN(scale) ? Float.NaN : scale;
    }

    static void read(PagedLatents source, int[] from, Tensor latent, Tensor ropeKeys) {
        MemorySegment pages = source.pages().segment();
        CacheFormat format = source.format();
        int rank = source.kvLoraRank();
        long row = 0;
        for (int s = 0; s < source.sequences(); s++) {
            for (int token = from[s]; token < source.lengths()[s]; token++, row++) {
                long record = source.offset(s, token);
                if (format == CacheFormat.BF16) {
                    readBF16(pages, record, rank, latent, row);
                } else {
                    for (int i = 0; i < rank; i++) {
                        float scale = pages.get(F32,
                                record + format.scalesOffset(rank) + 4L * (i / CacheFormat.TILE));
                        float value = Fp8Codec.decodeE4M3(pages.get(I8, record + i)) * scale;
                        store(latent, row, i, Float.isNaN(value) ? Float.NaN : value);
                    }
                }
                readBF16(pages, record + format.ropeKeyOffset(rank), source.ropeDim(), ropeKeys, row);
            }
        }
    }

    private static void readBF16(MemorySegment pages, long at, int n, Tensor y, long row) {
        for (int i = 0; i < n; i++) {
            short bits = pages.get(I16, at + 2L * i);
            if (y.dtype() == DType.BF16) {
                y.segment().set(I16, 2 * (row * y.stride(0) + i * y.stride(1)), bits);
            } else {
                store(y, row, i, BFloat16.toFloat(bits));
            }
        }
    }

    private static void store(Tensor y, long row, long column, float value) {
        long element = row * y.stride(0) + column * y.stride(1);
        if (y.dtype() == DType.BF16) {
            y.segment().set(I16, 2 * element, BFloat16.fromFloat(value));
        } else {
            y.segment().set(F32, 4 * element, value);
        }
    }
}
