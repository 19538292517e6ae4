package dev.octet.benchmarks.gpu;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.cuda.CublasLt;
import dev.octet.cuda.CudaDevice;
import dev.octet.cuda.CudaStream;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * FP8 products and quantisers beside cuBLASLt's product with the same scales and its BF16 product. The shapes are those
 * of DeepSeek-V3's layers that DeepGEMM publishes figures for.
 */
final class Fp8Cases {
    private static final long[] ROWS = {64, 128, 4096};
    private static final long[][] WEIGHTS = {{2112, 7168}, {24576, 1536}, {32768, 512}, {7168, 16384}, {4096, 7168},
        {7168, 2048}};
    private static final int GROUPS = 8;

    private Fp8Cases() {}

    static List<GpuCase> all() {
        List<GpuCase> cases = new ArrayList<>();
        for (long m : ROWS) {
            for (long[] w : WEIGHTS) {
                cases.add(new Gemm(m, w[0], w[1]));
                cases.add(new Peer(CublasLt.Inputs.FP8_1X128_128X128, m, w[0], w[1]));
            }
        }
        cases.add(new Peer(CublasLt.Inputs.BF16, 4096, 7168, 16384));
        cases.add(new Grouped(4096, 4096, 7168));
        cases.add(new Quantize(4096, 7168, Scaling.ACTIVATION));
        cases.add(new Quantize(32768, 7168, Scaling.ACTIVATION));
        cases.add(new Quantize(8 * 2048, 7168, Scaling.WEIGHT));
        return cases;
    }

    private static String shape(long m, long n, long k) {
        return "M=" + m + " N=" + n + " K=" + k;
    }

    private static List<GpuCase.Amount> amounts(long m, long n, long k, long bytes) {
        return List.of(new GpuCase.Amount("GFLOP/s", 2.0 * m * n * k), new GpuCase.Amount("GB/s", bytes));
    }

    private record Gemm(long m, long n, long k) implements GpuCase {
        @Override
        public String name() {
            return "gemm/octet " + shape(m, n, k);
        }

        @Override
        public Prepared prepare(CudaDevice gpu) {
            Fp8 fp8 = Fp8.auto();
            long bytes = m * k + n * k + 2 * m * n;
            Sets<ScaledTensor[]> sets = new Sets<>(GpuOperands.sets(gpu, bytes), (own, i) -> new ScaledTensor[] {
                own.keep(GpuOperands.scaled(gpu, m, k, Scaling.ACTIVATION)),
                own.keep(GpuOperands.scaled(gpu, n, k, Scaling.WEIGHT))});
            Tensor d = sets.keep(GpuOperands.output(gpu, DType.BF16, m, n));
            return sets.running(amounts(m, n, k, bytes), (stream, ab) -> fp8.gemm(ab[0], ab[1], d, Epilogue.NONE));
        }
    }

    private record Peer(CublasLt.Inputs inputs, long m, long n, long k) implements GpuCase {
        @Override
        public String name() {
            return "gemm/cublasLt " + (inputs == CublasLt.Inputs.BF16 ? "BF16 " : "") + shape(m, n, k);
        }

        @Override
        public Prepared prepare(CudaDevice gpu) {
            CublasLt.unavailable().ifPresent(why -> {
                throw new UnsupportedOperationException(why);
            });
            boolean bf16 = inputs == CublasLt.Inputs.BF16;
            long bytes = (bf16 ? 2 : 1) * (m * k + n * k) + 2 * m * n;
            Sets<Tensor[]> sets = new Sets<>(GpuOperands.sets(gpu, bytes), (own, i) -> {
                if (bf16) {
                    return new Tensor[] {own.keep(GpuOperands.bf16(gpu, m, k)), own.keep(GpuOperands.bf16(gpu, n, k))};
                }
                ScaledTensor a = own.keep(GpuOperands.scaled(gpu, m, k, Scaling.ACTIVATION));
                ScaledTensor b = own.keep(GpuOperands.scaled(gpu, n, k, Scaling.WEIGHT));
                return new Tensor[] {a.codes(), a.scales(), b.codes(), b.scales()};
            });
            try {
                Tensor d = sets.keep(GpuOperands.output(gpu, DType.BF16, m, n));
                CublasLt lt = sets.keep(CublasLt.open(gpu));
                CublasLt.Matmul matmul = sets.keep(lt.prepare(inputs, DType.BF16, m, n, k));
                return sets.running(amounts(m, n, k, bytes), (stream, t) -> {
                    if (bf16) {
                        matmul.run(t[0], t[1], d, stream);
                    } else {
                        matmul.run(t[0], t[1], t[2], t[3], d, stream);
                    }
                });
            } catch (RuntimeException e) {
                sets.close();
                throw e;
            }
        }
    }

    private record Grouped(long m, long n, long k) implements GpuCase {
        @Override
        public String name() {
            return "grouped gemm/octet " + GROUPS + " x " + shape(m, n, k);
        }

        @Override
        public Prepared prepare(CudaDevice gpu) {
            Fp8 fp8 = Fp8.auto();
            long bytes = GROUPS * (m * k + n * k + 2 * m * n);
            Sets<ScaledTensor[]> sets = new Sets<>(1, (own, i) -> new ScaledTensor[] {
                own.keep(GpuOperands.scaled(gpu, GROUPS * m, k, Scaling.ACTIVATION)),
                own.keep(GpuOperands.scaled(gpu, GROUPS * n, k, Scaling.WEIGHT))});
            Tensor d = sets.keep(GpuOperands.output(gpu, DType.BF16, GROUPS * m, n));
            long[] offsets = LongStream.rangeClosed(0, GROUPS).map(g -> g * m).toArray();
            List<ScaledTensor> weights = sets.get(0)[1].split(GROUPS);
            return sets.running(amounts(GROUPS * m, n, k, bytes),
                    (stream, ab) -> fp8.groupedGemm(ab[0], offsets, weights, d));
        }
    }

    private record Quantize(long rows, long columns, Scaling scaling) implements GpuCase {
        @Override
        public String name() {
            return "quantize/octet " + scaling.granularity() + " BF16 " + rows + " x " + columns;
        }

        @Override
        public Prepared prepare(CudaDevice gpu) {
            Fp8 fp8 = Fp8.auto();
            Sets<Object[]> sets = new Sets<>(GpuOperands.sets(gpu, 3 * rows * columns), (own, i) -> new Object[] {
                own.keep(GpuOperands.bf16(gpu, rows, columns)),
                own.keep(ScaledTensor.allocate(gpu.device(), DType.F8_E4M3, rows, columns, scaling))});
            double bytes = 2.0 * rows * columns + ((ScaledTensor) sets.get(0)[1]).byteSize();
            return sets.running(List.of(new Amount("GB/s", bytes)),
                    (stream, t) -> fp8.quantize((Tensor) t[0], (ScaledTensor) t[1]));
        }
    }

    /** Several sets of operands, and what has to be closed with them. */
    private static final class Sets<T> implements AutoCloseable {
        /** Makes one set, and keeps what has to be closed. */
        private interface Maker<T> {
            T make(Sets<T> own, int index);
        }

        /** One call with a set. */
        private interface Call<T> {
            void run(CudaStream stream, T set);
        }

        private final List<AutoCloseable> open = new ArrayList<>();
        private final List<T> sets;

        Sets(int count, Maker<T> maker) {
            List<T> made = new ArrayList<>();
            try {
                IntStream.range(0, count).forEach(i -> made.add(maker.make(this, i)));
            } catch (RuntimeException | Error e) {
                close();
                throw e;
            }
            sets = made;
        }

        <C extends AutoCloseable> C keep(C closeable) {
            open.add(closeable);
            return closeable;
        }

        T get(int index) {
            return sets.get(index);
        }

        GpuCase.Prepared running(List<GpuCase.Amount> amounts, Call<T> call) {
            return new GpuCase.Prepared() {
                @Override
                public int sets() {
                    return sets.size();
                }

                @Override
                public void run(CudaStream stream, int set) {
                    call.run(stream, sets.get(set));
                }

                @Override
                public List<GpuCase.Amount> amounts() {
                    return amounts;
                }

                @Override
                public void close() {
                    Sets.this.close();
                }
            };
        }

        @Override
        public void close() {
            for (AutoCloseable c : open.reversed()) {
                try {
                    c.close();
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            }
            open.clear();
        }
    }
}
