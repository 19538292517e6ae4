package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.spi.Storage;
import dev.octet.fp8.GemmCase.Pairing;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Products so large that backend {@code cpu} cuts rows, columns and K into parts: a sum has the same bits as in a
 * product that needs no cut.
 */
@Tag("backend")
class GemmCutsTest {
    /** More than two chunks of rows, two ranges of columns and two slabs of K, none of them whole. */
    private static final long M = 1100;
    private static final long N = 4200;
    private static final long K = 2300;
    /** Rows of the products that need no cut; few enough for one slab, too many for the kernels for few rows. */
    private static final long PART = 40;

    @ParameterizedTest
    @ValueSource(ints = {1, 3})
    void largeProductsHaveTheBitsOfSmallOnes(int threads) {
        assumeTrue(TestedBackends.names().anyMatch("cpu"::equals));
        GemmCase gemm = GemmCase.plain(1, Pairing.FORWARD, M, N, K);
        try (Arena arena = Arena.ofShared(); CpuPool pool = new CpuPool(threads)) {
            GemmCase.Data data = gemm.data(arena, Matrices::random);
            Matrices.setByte(data.a().codes(), 700, 2290, (byte) 0x7F); // last slab of the second chunk
            Matrices.setByte(data.b().codes(), 4199, 5, (byte) 0xFF); // first slab, last range
            Fp8 fp8 = Fp8.on("cpu").with(pool);
            Tensor d = data.d().view();
            gemm.run(fp8, data);
            for (long row : new long[] {0, 500, 512 - PART, 512, 680, 1024, M - PART}) {
                Tensor part = Tensor.allocate(arena, DType.F32, Shape.of(PART, N));
                fp8.gemm(rows(data.a(), row), data.b(), part, Epilogue.NONE);
                assertArrayEquals(part.toFloatArray(), d.slice(0, row, row + PART).toFloatArray(), "from row " + row);
            }
            for (long j = 0; j < N; j++) {
                assertEquals(Float.NaN, d.getFloat(700, j));
            }
            for (long i = 0; i < M; i++) {
                assertEquals(Float.NaN, d.getFloat(i, 4199));
                assertEquals(i == 700, Float.isNaN(d.getFloat(i, 4198)));
            }
        }
    }

    private static ScaledTensor rows(ScaledTensor a, long from) {
        return new ScaledTensor(a.codes().slice(0, from, from + PART), a.scales().slice(0, from, from + PART),
                a.scaling());
    }

    /** Every pairing, against sums that are exact whatever their order. */
    @ParameterizedTest
    @EnumSource(Pairing.class)
    void slabsAndChunks(Pairing pairing) {
        assumeTrue(TestedBackends.names().anyMatch("cpu"::equals));
        long m = 530;
        long n = 50;
        try (Arena arena = Arena.ofShared()) {
            GemmCase gemm = GemmCase.plain(2, pairing, m, n, K);
            GemmCase.Data data = gemm.data(arena, (ar, random, layout, format, rows, columns, scaling) ->
                    Matrices.integers(ar, random, layout, format, rows, columns, scaling, 4));
            byte[] a = values(data.a());
            byte[] b = values(data.b());
            gemm.run(Fp8.on("cpu"), data);
            for (int i = 0; i < m; i++) {
                for (int j = 0; j < n; j++) {
                    int sum = 0;
                    for (int k = 0; k < K; k++) {
                        sum += a[(int) (i * K) + k] * b[(int) (j * K) + k];
                    }
                    if (sum != data.d().view().getFloat(i, j)) {
                        assertEquals(sum, data.d().view().getFloat(i, j), pairing + " [" + i + ", " + j + "]");
                    }
                }
            }
        }
    }

    private static byte[] values(ScaledTensor t) {
        byte[] values = new byte[(int) (t.rows() * t.columns())];
        for (int i = 0; i < t.rows(); i++) {
            for (int k = 0; k < t.columns(); k++) {
                values[(int) (i * t.columns()) + k] = (byte) Matrices.value(t, i, k);
            }
        }
        return values;
    }

    /** 64 equal rows share their memory: 2^31 packed elements and more, in slabs. */
    @Test
    void longK() {
        assumeTrue(TestedBackends.names().anyMatch("cpu"::equals));
        long k = 34_000_000;
        Scaling scaling = new Scaling(Granularity.TENSOR, ScaleFormat.F32);
        try (Arena arena = Arena.ofShared()) {
            ScaledTensor b = new ScaledTensor(Tensor.allocate(arena, DType.F8_E4M3, Shape.of(1, k)),
                    Tensor.allocate(arena, DType.F32, Shape.of(1, 1)), scaling);
            Matrices.setScale(b, 0, 0, 1);
            b.codes().segment().fill((byte) 0x38); // 1
            ScaledTensor a = new ScaledTensor(
                    Tensor.view(new SharedRow(b.codes().segment()), DType.F8_E4M3, Shape.of(64, k), new long[] {0, 1}, 0),
                    b.scales(), scaling);
            Tensor d = Tensor.allocate(arena, DType.F32, Shape.of(64, 1));
            Fp8.on("cpu").gemm(a, b, d, Epilogue.NONE);
            for (int i = 0; i < 64; i++) {
                assertEquals(k, d.getFloat(i, 0)); // multiples of 128 below 2^31 are exact
            }
        }
    }

    private record SharedRow(MemorySegment segment) implements Storage {
        @Override
        public Device device() {
            return Device.CPU;
        }

        @Override
        public long byteSize() {
            return segment.byteSize();
        }

        @Override
        public boolean isAlive() {
            return true;
        }

        @Override
        public void close() {}

        @Override
        public long address() {
            return segment.address();
        }

        @Override
        public void read(long offset, MemorySegment target) {
            MemorySegment.copy(segment, offset, target, 0, target.byteSize());
        }

        @Override
        public void write(long offset, MemorySegment source) {
            MemorySegment.copy(source, 0, segment, offset, source.byteSize());
        }
    }
}
