package dev.octet.mla.cpu;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import dev.octet.mla.CacheFormat;
import dev.octet.mla.spi.PagedLatents;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.Arrays;

/** Writing and reading the records of a cache, some tokens at a time. */
final class Records {
    /** Tokens of a task: their values fit in the second-level cache. How the work is cut never depends on the pool. */
    private static final int CHUNK = 64;
    /** Which of a thread's scratch segments holds a row that does not lie in one piece. */
    private static final int ROW = 0;

    private final RecordKernels kernels;
    private final PagedLatents paged;
    private final int[] from;
    /** Rows of the tensors before each sequence's, and in the end all. */
    private final long[] firstRow;
    private final Rows latent;
    private final Rows ropeKeys;
    private final long pages;
    private final int pageSize;
    private final int bytesPerToken;
    private final int rank;
    private final int tiles;

    private Records(RecordKernels kernels, Tensor latent, Tensor ropeKeys, PagedLatents paged, int[] from) {
        this.kernels = kernels;
        this.paged = paged;
        this.from = from;
        this.latent = Rows.of(latent);
        this.ropeKeys = Rows.of(ropeKeys);
        firstRow = new long[from.length + 1];
        for (int s = 0; s < from.length; s++) {
            firstRow[s + 1] = firstRow[s] + paged.lengths()[s] - from[s];
        }
        pages = paged.pages().address();
        pageSize = paged.pageSize();
        bytesPerToken = paged.bytesPerToken();
        rank = paged.kvLoraRank();
        tiles = rank / CacheFormat.TILE;
    }

    static void write(RecordKernels kernels, Tensor latent, Tensor ropeKeys, PagedLatents target, int[] from,
            CpuPool pool) {
        Records r = new Records(kernels, latent, ropeKeys, target, from);
        r.run(pool, r::write);
        keep(latent, ropeKeys, target);
    }

    static void read(RecordKernels kernels, PagedLatents source, int[] from, Tensor latent, Tensor ropeKeys,
            CpuPool pool) {
        Records r = new Records(kernels, latent, ropeKeys, source, from);
        r.run(pool, r::read);
        keep(latent, ropeKeys, source);
    }

    /** Kernels go by addresses; the memory behind them must not be collected before they are done. */
    private static void keep(Tensor latent, Tensor ropeKeys, PagedLatents paged) {
        Reference.reachabilityFence(latent);
        Reference.reachabilityFence(ropeKeys);
        Reference.reachabilityFence(paged);
    }

    /** What is done with one token. */
    private interface Body {
        void run(long row, long record);
    }

    private void run(CpuPool pool, Body body) {
        long rows = firstRow[from.length];
        long chunks = Math.ceilDiv(rows, CHUNK);
        pool.run(Math.toIntExact(chunks), i -> chunk((long) i * CHUNK, Math.min(rows, (i + 1L) * CHUNK), body));
    }

    private void chunk(long row, long end, Body body) {
        int s = Arrays.binarySearch(firstRow, row);
        s = s < 0 ? -s - 2 : s;
        while (row < end) {
            while (row >= firstRow[s + 1]) {
                s++; // sequences without tokens too
            }
            int[] table = paged.tables()[s];
            int token = (int) (from[s] + (row - firstRow[s]));
            for (long last = Math.min(end, firstRow[s + 1]); row < last; row++, token++) {
                long page = table[token / pageSize];
                body.run(row, pages + (page * pageSize + token % pageSize) * bytesPerToken);
            }
        }
    }

    private void write(long row, long record) {
        CacheFormat format = paged.format();
        if (format == CacheFormat.BF16) {
            writeBF16(latent, row, rank, record);
        } else {
            kernels.encode(format, latent.gather(row, rank), latent.bf16, tiles, record,
                    record + format.scalesOffset(rank));
        }
        writeBF16(ropeKeys, row, paged.ropeDim(), record + format.ropeKeyOffset(rank));
    }

    private void writeBF16(Rows rows, long row, int n, long to) {
        long x = rows.gather(row, n);
        if (rows.bf16) {
            MemorySegment.copy(RecordKernels.ALL, x, RecordKernels.ALL, to, 2L * n);
        } else {
            kernels.narrow(x, to, n);
        }
    }

    private void read(long row, long record) {
        CacheFormat format = paged.format();
        if (format == CacheFormat.BF16) {
            readBF16(latent, row, rank, record);
        } else {
            long y = latent.target(row, rank);
            kernels.decode(record, record + format.scalesOffset(rank), tiles, y, latent.bf16);
            latent.scatter(row, rank, y);
        }
        readBF16(ropeKeys, row, paged.ropeDim(), record + format.ropeKeyOffset(rank));
    }

    private void readBF16(Rows rows, long row, int n, long record) {
        long y = rows.target(row, n);
        if (rows.bf16) {
            MemorySegment.copy(RecordKernels.ALL, record, RecordKernels.ALL, y, 2L * n);
        } else {
            kernels.widen(record, y, n);
        }
        rows.scatter(row, n, y);
    }

    /** A matrix of F32 or BF16 whose rows kernels see in one piece each: in place, or through scratch. */
    private record Rows(long address, boolean bf16, long rowStride, long columnStride) {
        static Rows of(Tensor t) {
            return new Rows(t.address(), t.dtype() == DType.BF16, t.stride(0), t.dim(1) < 2 ? 1 : t.stride(1));
        }

        private int size() {
            return bf16 ? 2 : 4;
        }

        private long at(long row) {
            return address + row * rowStride * size();
        }

        long gather(long row, int n) {
            if (columnStride == 1) {
                return at(row);
            }
            long to = target(row, n);
            copy(at(row), columnStride, to, 1, n);
            return to;
        }

        long target(long row, int n) {
            return columnStride == 1 ? at(row) : Scratch.get(ROW, (long) n * size()).address();
        }

        void scatter(long row, int n, long from) {
            if (columnStride != 1) {
                copy(from, 1, at(row), columnStride, n);
            }
        }

        private void copy(long from, long fromStride, long to, long toStride, int n) {
            if (bf16) {
                for (int i = 0; i < n; i++) {
                    RecordKernels.ALL.set(RecordKernels.I16, to + 2 * i * toStride,
                            RecordKernels.ALL.get(RecordKernels.I16, from + 2 * i * fromStride));
                }
            } else {
                for (int i = 0; i < n; i++) {
                    RecordKernels.ALL.set(RecordKernels.I32, to + 4 * i * toStride,
                            RecordKernels.ALL.get(RecordKernels.I32, from + 4 * i * fromStride));
                }
            }
        }
    }
}
