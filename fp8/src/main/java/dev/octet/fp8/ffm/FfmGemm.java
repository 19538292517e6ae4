package dev.octet.fp8.ffm;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.ScaledTensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Products of FP8 matrices in native code, one or many in a call. Each is cut into jobs of up to 512 rows of A; jobs form
 * batches by the memory that packed A takes, and a batch is two loops of the pool: first all of its A is packed, then
 * all of its columns are multiplied.
 *
 * <p>Which kernel a product gets depends on its own shape, and what a sum is on nothing but the kernel: so results are
 * the same for every pool and for every set of products.
 */
final class FfmGemm implements AutoCloseable {
    /** Packed A of a batch, which should stay in the last-level cache. */
    private static final long BATCH_BYTES = 32L << 20;
    /** Up to so many products of elements, some 4 us, a second thread costs more than it brings: 5 us and more. */
    private static final long SERIAL_PRODUCTS = 1 << 20;
    /** With few rows of A decoding takes longer than products: each counts for so many. */
    private static final int FEW_ROWS_WEIGHT = 4;

    private final List<AutoCloseable> held = new ArrayList<>();
    private final List<GemmJob> jobs = new ArrayList<>();
    private double products;

    /** Adds {@code D = epilogue(A * B^T)} to what is to be done. */
    void add(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue) {
        if (a.rows() > 0 && b.rows() > 0) {
            add(hold(new GemmMatrix(a)), 0, a.rows(), hold(new GemmMatrix(b)), hold(new GemmTarget(d, epilogue)));
        }
    }

    /** Adds for each group {@code D = A * B[g]^T} on rows {@code begins[g]} to {@code ends[g] - 1} of A and D. */
    void addGroups(ScaledTensor a, long[] begins, long[] ends, List<ScaledTensor> b, Tensor d) {
        GemmMatrix x = hold(new GemmMatrix(a));
        GemmTarget target = hold(new GemmTarget(d, Epilogue.NONE));
        for (int g = 0; g < begins.length; g++) {
            if (begins[g] < ends[g] && b.get(g).rows() > 0) {
                add(x, begins[g], ends[g], hold(new GemmMatrix(b.get(g))), target);
            }
        }
    }

    private void add(GemmMatrix x, long from, long to, GemmMatrix w, GemmTarget target) {
        long rows = to - from;
        double all = (double) rows * x.k * w.rows;
        if (GemmJob.hasFewRows(rows, w)) {
            products += FEW_ROWS_WEIGHT * all;
            jobs.add(new GemmJob(x, w, target, from, rows, true));
            return;
        }
        products += all;
        long chunk = GemmJob.chunkRows(rows, x.k);
        for (long row = from; row < to; row += chunk) {
            jobs.add(new GemmJob(x, w, target, row, Math.min(chunk, to - row), false));
        }
    }

    private <T extends AutoCloseable> T hold(T t) {
        held.add(t);
        return t;
    }

    /** Does it. */
    void run(CpuPool pool) {
        for (int from = 0; from < jobs.size();) {
            long bytes = 0;
            int to = from;
            do {
                bytes += jobs.get(to++).bytes + GemmJob.STRUCT_BYTES;
            } while (to < jobs.size() && bytes + jobs.get(to).bytes <= BATCH_BYTES);
            batch(jobs.subList(from, to), bytes, pool);
            from = to;
        }
    }

    private void batch(List<GemmJob> batch, long bytes, CpuPool pool) {
        long memory = Scratch.get(GemmJob.SLOT_CALLER, bytes).address();
        int n = batch.size();
        batch.getLast().halveLastTasks();
        int[] packing = new int[n + 1];
        int[] multiplying = new int[n + 1];
        for (int i = 0; i < n; i++) {
            GemmJob job = batch.get(i);
            job.place(memory, memory + GemmJob.STRUCT_BYTES);
            memory += GemmJob.STRUCT_BYTES + job.bytes;
            packing[i + 1] = Math.addExact(packing[i], job.packingTasks);
            multiplying[i + 1] = Math.addExact(multiplying[i], job.tasks());
        }
        CpuPool.Task pack = t -> {
            int i = indexOf(t, packing);
            batch.get(i).pack(t - packing[i]);
        };
        CpuPool.Task multiply = t -> {
            int i = indexOf(t, multiplying);
            batch.get(i).multiply(t - multiplying[i]);
        };
        if (products <= SERIAL_PRODUCTS) {
            for (int t = 0; t < packing[n]; t++) {
                pack.run(t);
            }
            for (int t = 0; t < multiplying[n]; t++) {
                multiply.run(t);
            }
        } else {
            pool.run(packing[n], pack);
            pool.run(multiplying[n], multiply);
        }
    }

    /** {@return the last job whose tasks begin at or before one; a job without tasks is never it} */
    private static int indexOf(int task, int[] begins) {
        if (begins.length == 2) {
            return 0;
        }
        int i = Arrays.binarySearch(begins, task);
        if (i < 0) {
            return -i - 2;
        }
        while (begins[i + 1] == task) {
            i++;
        }
        return i;
    }

    /** Keeps all memory reachable until here, and frees copies. */
    @Override
    public void close() {
        for (AutoCloseable c : held) {
            switch (c) {
                case GemmMatrix m -> m.close();
                case GemmTarget t -> t.close();
                default -> throw new IllegalStateException("held: " + c);
            }
        }
    }
}
