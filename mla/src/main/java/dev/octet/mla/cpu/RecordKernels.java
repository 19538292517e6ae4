package dev.octet.mla.cpu;

import dev.octet.core.BFloat16;
import dev.octet.core.cpu.NativeMemory;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.Overflow;
import dev.octet.mla.CacheFormat;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * The inner loops that make and read the records of a cache, in plain Java. The vector kernels run them too, on what is
 * left over at the end of a row and on tiles that hold a NaN or an infinity. All take native addresses.
 */
class RecordKernels {
    static final MemorySegment ALL = NativeMemory.ALL;
    static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfByte I8 = ValueLayout.JAVA_BYTE;

    static final int TILE = CacheFormat.TILE;
    static final int MAGNITUDE = 0x7FFF_FFFF;
    /** The bits of the NaN that is written, whatever NaN it comes of. */
    static final int NAN = 0x7FC0_0000;

    /** Rounds a row of F32 to BF16. */
    void narrow(long x, long y, int n) {
        narrow(x, y, 0, n);
    }

    static void narrow(long x, long y, int from, int n) {
        for (int i = from; i < n; i++) {
            ALL.set(I16, y + 2L * i, BFloat16.fromFloat(ALL.get(F32, x + 4L * i)));
        }
    }

    /** Widens a row of BF16 to F32. */
    void widen(long x, long y, int n) {
        widen(x, y, 0, n);
    }

    static void widen(long x, long y, int from, int n) {
        for (int i = from; i < n; i++) {
            ALL.set(I32, y + 4L * i, ALL.get(I16, x + 2L * i) << 16);
        }
    }

    /** Quantises a row of F32, or of BF16, by whole tiles. */
    void encode(CacheFormat format, long x, boolean bf16, int tiles, long codes, long scales) {
        for (int t = 0; t < tiles; t++) {
            long tile = x + (bf16 ? 2L : 4L) * TILE * t;
            int max = 0;
            for (int i = 0; i < TILE; i++) {
                int bits = bf16 ? ALL.get(I16, tile + 2L * i) << 16 : ALL.get(I32, tile + 4L * i);
                max = Math.max(max, bits & MAGNITUDE);
            }
            float factor = storeScale(format, max, scales + 4L * t);
            encodeTile(tile, bf16, factor, codes + (long) TILE * t);
        }
    }

    /** Makes and stores the scale of a tile, and returns its reciprocal: positive unless the tile is not finite. */
    static float storeScale(CacheFormat format, int maxBits, long to) {
        float scale = format.scale(Float.intBitsToFloat(maxBits));
        ALL.set(I32, to, Float.floatToIntBits(scale));
        return 1f / scale;
    }

    static void encodeTile(long x, boolean bf16, float factor, long codes) {
        for (int i = 0; i < TILE; i++) {
            float value = bf16 ? BFloat16.toFloat(ALL.get(I16, x + 2L * i)) : ALL.get(F32, x + 4L * i);
            float y = value * factor;
            // Which sign a product has that is NaN is up to the processor.
            ALL.set(I8, codes + i, Fp8Codec.encodeE4M3(y != y ? Float.NaN : y, Overflow.SATURATE));
        }
    }

    /** Multiplies whole tiles of codes with their scales, to a row of F32, or of BF16. */
    void decode(long codes, long scales, int tiles, long y, boolean bf16) {
        for (int t = 0; t < tiles; t++) {
            decodeTile(codes + (long) TILE * t, ALL.get(F32, scales + 4L * t), y + (bf16 ? 2L : 4L) * TILE * t, bf16);
        }
    }

    static void decodeTile(long codes, float scale, long y, boolean bf16) {
        for (int i = 0; i < TILE; i++) {
            float value = Fp8Codec.decodeE4M3(ALL.get(I8, codes + i)) * scale;
            float v = value != value ? Float.NaN : value;
            if (bf16) {
                ALL.set(I16, y + 2L * i, BFloat16.fromFloat(v));
            } else {
                ALL.set(F32, y + 4L * i, v);
            }
        }
    }
}
