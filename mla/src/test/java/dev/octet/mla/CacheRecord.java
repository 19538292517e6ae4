package dev.octet.mla;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** A token's record made without any code of the library: by search among all codes, in double where it is exact. */
final class CacheRecord {
    private CacheRecord() {}

    static byte[] of(CacheFormat format, float[] latent, float[] ropeKey) {
        boolean bf16 = format == CacheFormat.BF16;
        int size = (bf16 ? 2 * latent.length : latent.length + latent.length / 128 * 4) + 2 * ropeKey.length;
        ByteBuffer record = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
        if (bf16) {
            for (float x : latent) {
                record.putShort(bf16(x));
            }
        } else {
            float[] scales = new float[latent.length / 128];
            for (int i = 0; i < latent.length; i++) {
                if (i % 128 == 0) {
                    scales[i / 128] = scale(format, latent, i);
                }
                record.put(code(latent[i] * (1f / scales[i / 128])));
            }
            for (float s : scales) {
                record.putInt(Float.isNaN(s) ? 0x7FC00000 : Float.floatToRawIntBits(s));
            }
        }
        for (float x : ropeKey) {
            record.putShort(bf16(x));
        }
        return record.array();
    }

    /** What reading gives back, in FP32. */
    static float[] latent(CacheFormat format, byte[] bytes, int n) {
        ByteBuffer record = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        float[] latent = new float[n];
        for (int i = 0; i < n; i++) {
            latent[i] = format == CacheFormat.BF16 ? Float.intBitsToFloat(record.getShort(2 * i) << 16)
                    : (float) value(record.get(i) & 0xFF) * record.getFloat(n + i / 128 * 4);
        }
        return latent;
    }

    static float scale(CacheFormat format, float[] x, int from) {
        float amax = 0;
        for (int i = from; i < from + 128; i++) {
            if (Float.isNaN(x[i])) {
                return Float.NaN;
            }
            amax = Math.max(amax, Math.abs(x[i]));
        }
        if (format == CacheFormat.FP8_FP32_SCALE) {
            return (amax < 1e-4f ? 1e-4f : amax) / 448f;
        }
        float s = amax / 448f < 1e-4f ? 1e-4f : amax / 448f;
        if (s == Float.POSITIVE_INFINITY) {
            return s;
        }
        double power = 0x1p-13;
        while (power < s) {
            power *= 2;
        }
        return (float) power;
    }

    /** The nearest of all finite E4M3 codes; of two at the same distance the even one. */
    static byte code(float y) {
        if (Float.isNaN(y)) {
            return 0x7F;
        }
        int best = 0;
        for (int c = 1; c <= 0x7E; c++) {
            double closer = Math.abs(value(best) - Math.abs((double) y)) - Math.abs(value(c) - Math.abs((double) y));
            if (closer > 0 || closer == 0 && c % 2 == 0) {
                best = c;
            }
        }
        return (byte) (Float.floatToRawIntBits(y) < 0 ? best | 0x80 : best);
    }

    static double value(int code) {
        int e = code >> 3 & 15;
        double m = (code & 7) / 8.0;
        double v = (code & 0x7F) == 0x7F ? Double.NaN : e == 0 ? m * 0x1p-6 : (1 + m) * Math.pow(2, e - 7);
        return code >= 0x80 ? -v : v;
    }

    /** The nearest of the two BF16 around a value; the one after the largest counts as 2^128. */
    static short bf16(float x) {
        int bits = Float.floatToRawIntBits(x);
        if (Float.isNaN(x)) {
            return (short) (bits >>> 16 & 0x8000 | 0x7FC0);
        }
        int low = bits >>> 16 & 0x7FFF;
        double below = Float.intBitsToFloat(low << 16);
        double above = low == 0x7F7F ? 0x1p128 : Float.intBitsToFloat(low + 1 << 16);
        double a = Math.abs((double) x);
        boolean up = above - a < a - below || above - a == a - below && low % 2 == 1;
        return (short) (bits >>> 16 & 0x8000 | (up && low < 0x7F80 ? low + 1 : low));
    }
}
