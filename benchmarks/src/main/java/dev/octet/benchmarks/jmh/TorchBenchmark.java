package dev.octet.benchmarks.jmh;

import dev.octet.benchmarks.peer.LibTorch;
import dev.octet.benchmarks.peer.TorchAttention;
import dev.octet.benchmarks.peer.TorchCast;
import dev.octet.benchmarks.peer.TorchGate;
import dev.octet.benchmarks.peer.TorchMatmul;
import dev.octet.core.DType;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** What LibTorch takes for the same work, with the same threads and, where rows are few, weights as cold. */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class TorchBenchmark {
    /** A product in F32 or BF16. */
    @State(Scope.Benchmark)
    public static class Product {
        /** The type of operands and result. */
        @Param("F32")
        public DType dtype;
        /** How many threads work. */
        @Param("1")
        public int threads;
        /** Rows of A and D. */
        @Param("128")
        public long m;
        /** Rows of B, columns of D. */
        @Param("576")
        public long n;
        /** Columns of A and B. */
        @Param("7168")
        public long k;

        TorchMatmul matmul;

        /** Makes the operands. */
        @Setup
        public void make() {
            LibTorch.useThreads(threads);
            matmul = new TorchMatmul(dtype, m, n, k, ColdWeights.copies(m, n * k * dtype.byteSize()));
        }

        /** Frees them. */
        @TearDown
        public void close() {
            matmul.close();
        }
    }

    /** A matrix to cast. */
    @State(Scope.Benchmark)
    public static class Matrix {
        /** The type that is read. */
        @Param("BF16")
        public DType dtype;
        /** How many threads work. */
        @Param("1")
        public int threads;
        /** Rows. */
        @Param("4096")
        public long rows;
        /** Columns. */
        @Param("7168")
        public long columns;

        TorchCast cast;

        /** Makes the operands. */
        @Setup
        public void make() {
            LibTorch.useThreads(threads);
            cast = new TorchCast(dtype, rows, columns);
        }

        /** Frees them. */
        @TearDown
        public void close() {
            cast.close();
        }
    }

    /** Attention of one sequence over keys and values of each head. */
    @State(Scope.Benchmark)
    public static class Attention {
        /** How LibTorch is asked for it. */
        @Param("SDPA")
        public TorchAttention.Form form;
        /** The type of operands and result. */
        @Param("BF16")
        public DType dtype;
        /** How many threads work. */
        @Param("1")
        public int threads;
        /** Heads. */
        @Param("16")
        public long heads;
        /** Query tokens. */
        @Param("1")
        public long queries;
        /** Key tokens. */
        @Param("8192")
        public long keys;

        TorchAttention attention;

        /** Makes the operands. */
        @Setup
        public void make() {
            long bytes = heads * keys * (TorchAttention.QUERY_DIM + TorchAttention.VALUE_DIM) * dtype.byteSize();
            attention = new TorchAttention(form, dtype, threads, heads, queries, keys,
                    queries == 1 ? ColdWeights.layers(bytes) : 1);
        }

        /** Frees them. */
        @TearDown
        public void close() {
            attention.close();
        }
    }

    /** Logits of DeepSeek-V3's router. */
    @State(Scope.Benchmark)
    public static class Logits {
        /** How many threads work. */
        @Param("1")
        public int threads;
        /** Tokens. */
        @Param("4096")
        public long tokens;

        TorchGate gate;

        /** Makes the operands. */
        @Setup
        public void make() {
            gate = new TorchGate(threads, tokens);
        }

        /** Frees them. */
        @TearDown
        public void close() {
            gate.close();
        }
    }

    /**
     * The product.
     *
     * @param s the operands
     */
    @Benchmark
    public void matmul(Product s) {
        s.matmul.run();
    }

    /**
     * The cast to E4M3.
     *
     * @param s the operands
     */
    @Benchmark
    public void cast(Matrix s) {
        s.cast.run();
    }

    /**
     * Attention.
     *
     * @param s the operands
     */
    @Benchmark
    public void attention(Attention s) {
        s.attention.run();
    }

    /**
     * The gate.
     *
     * @param s the operands
     */
    @Benchmark
    public void gate(Logits s) {
        s.gate.run();
    }
}
