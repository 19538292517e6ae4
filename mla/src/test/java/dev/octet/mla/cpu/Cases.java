package dev.octet.mla.cpu;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuConfig;
import dev.octet.fp8.Fp8Codec;
import dev.octet.mla.CacheFormat;
import dev.octet.mla.spi.MlaBackend;
import dev.octet.mla.spi.PagedLatents;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import java.util.stream.Stream;

/** Inputs for the attention of both CPU backends. */
final class Cases {
    private Cases() {}

    /** {@return the backends that can run at this JVM's vector width} */
    static Stream<MlaBackend> backends() {
        return CpuConfig.vectorBits() == 0 ? Stream.of(new ScalarBackend())
                : Stream.of(new VectorBackend(), new ScalarBackend());
    }

    static float[] gaussian(Random random, int n, float deviation) {
        float[] x = new float[n];
        for (int i = 0; i < n; i++) {
            x[i] = (float) random.nextGaussian() * deviation;
        }
        return x;
    }

    /** A cache whose records, and what they decode to, are known; all that is not a record is NaN. */
    static final class Cache implements AutoCloseable {
        final PagedLatents latents;
        /** {@code [sequence][token][rank + ropeDim]}. */
        final float[][][] keys;

        Cache(Random random, CacheFormat format, int rank, int ropeDim, int pageSize, int... lengths) {
            int bytes = format.bytesPerToken(rank, ropeDim);
            int used = 0;
            for (int length : lengths) {
                used += Math.ceilDiv(length, pageSize);
            }
            int pages = used + 2;
            Tensor memory = Tensor.allocate(DType.U8, Shape.of(pages, pageSize, bytes));
            memory.segment().fill((byte) 0xFF);
            int[] order = random.ints(0, 1 << 30).distinct().limit(pages).toArray();
            Integer[] shuffled = Stream.iterate(0, i -> i + 1).limit(pages)
                    .sorted((a, b) -> Integer.compare(order[a], order[b])).toArray(Integer[]::new);
            int[][] tables = new int[lengths.length][];
            int next = 0;
            for (int s = 0; s < lengths.length; s++) {
                tables[s] = new int[Math.ceilDiv(lengths[s], pageSize) + 1];
                for (int i = 0; i < tables[s].length; i++) {
                    tables[s][i] = i + 1 == tables[s].length ? -1 : shuffled[next++];
                }
            }
            latents = new PagedLatents(format, rank, ropeDim, memory, tables, lengths.clone());
            keys = new float[lengths.length][][];
            for (int s = 0; s < lengths.length; s++) {
                keys[s] = new float[lengths[s]][rank + ropeDim];
                for (int t = 0; t < lengths[s]; t++) {
                    write(random, s, t);
                }
            }
        }

        private void write(Random random, int s, int t) {
            MemorySegment m = latents.pages().segment();
            int rank = latents.kvLoraRank();
            long at = latents.offset(s, t);
            int from = 0;
            if (latents.format() != CacheFormat.BF16) {
                for (int i = 0; i < rank; i++) {
                    float scale = m.get(ValueLayout.JAVA_FLOAT_UNALIGNED, at + rank + i / 128 * 4);
                    if (i % 128 == 0) {
                        scale = (float) Math.exp(random.nextGaussian()) / 100;
                        m.set(ValueLayout.JAVA_FLOAT_UNALIGNED, at + rank + i / 128 * 4, scale);
                    }
                    byte code = (byte) random.nextInt(256);
                    code = (code & 0x7F) == 0x7F ? 0 : code;
                    m.set(ValueLayout.JAVA_BYTE, at + i, code);
                    keys[s][t][i] = Fp8Codec.decodeE4M3(code) * scale;
                }
                from = rank;
                at += rank + rank / 128 * 4 - 2L * rank;
            }
            for (int i = from; i < keys[s][t].length; i++) {
                short bits = BFloat16.fromFloat((float) random.nextGaussian());
                m.set(ValueLayout.JAVA_SHORT_UNALIGNED, at + 2L * i, bits);
                keys[s][t][i] = BFloat16.toFloat(bits);
            }
        }

        /** Overwrites one value of a BF16 record. */
        void set(int s, int t, int i, float value) {
            latents.pages().segment().set(ValueLayout.JAVA_SHORT_UNALIGNED, latents.offset(s, t) + 2L * i,
                    BFloat16.fromFloat(value));
            keys[s][t][i] = value;
        }

        @Override
        public void close() {
            latents.pages().close();
        }
    }

    /** {@return a row's values as the tensor holds them} */
    static float[] row(float[] all, long index, int dims) {
        float[] row = new float[dims];
        System.arraycopy(all, Math.toIntExact(index * dims), row, 0, dims);
        return row;
    }

    /** {@return the same elements with strides that leave gaps and run the other way round} */
    static Tensor strided(Tensor x) {
        long[] dims = x.shape().toArray();
        long[] strides = new long[dims.length];
        long stride = 2;
        for (int i = 0; i < dims.length; i++) {
            strides[i] = stride;
            stride *= dims[i] + 1;
        }
        Tensor copy = Tensor.allocateStrided(x.dtype(), x.shape(), strides);
        copy.copyFrom(x);
        return copy;
    }
}
