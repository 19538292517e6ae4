package dev.octet.fp8.cpu;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.Scratch;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.ScaledTensor;
import java.lang.ref.Reference;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Many products in one loop: segments of rows of A, each with its own B. Each product goes to the kernel that it would
 * go to by itself, {@link SkinnyGemm} or {@link TiledGemm}. How that cuts its work changes no sum, so its result has
 * the same bits.
 *
 * <p>Schedule. Products that leave packed A in one slab form batches of up to 4 MiB of packed A. A loop of the pool has
 * all tasks of all products of a batch, the next batch's packing as its last ones. What does not fit in a slab keeps
 * every thread busy by itself, and is multiplied after the batches, alone.
 */
final class GroupedGemm {
    private static final int BLOCK = 128;
    private static final long BATCH_FLOATS = TiledGemm.SLAB_FLOATS;
    /** Two segments, for the batch that is being multiplied and the one that is being packed. */
    private static final int SLOT_PACKED = 2;

    private final List<GemmOperand> operands = new ArrayList<>();
    private final List<Product> products = new ArrayList<>();
    private final List<Product> large = new ArrayList<>();

    private GroupedGemm() {}

    /** One group's product, of the tiled or of the skinny kind. */
    private static final class Product {
        final GemmOperand a;
        final GemmOperand b;
        final GemmOutput out;
        final boolean fewRows;
        @Nullable TiledGemm tiled;
        @Nullable SkinnyGemm skinny;

        Product(GemmOperand a, GemmOperand b, GemmOutput out) {
            this.a = a;
            this.b = b;
            this.out = out;
            fewRows = SkinnyGemm.takes(a, b);
        }

        boolean isSmall() {
            return fewRows ? SkinnyGemm.packedFloats(a) <= BATCH_FLOATS : TiledGemm.isOneSlab(a);
        }

        int packedFloats() {
            return fewRows ? (int) SkinnyGemm.packedFloats(a) : TiledGemm.packedFloats(a);
        }

        void multiplyAlone(CpuPool pool) {
            if (fewRows) {
                SkinnyGemm.gemm(a, b, out, pool);
            } else {
                TiledGemm.gemm(a, b, out, pool);
            }
        }
    }

    /**
     * Multiplies rows {@code begins[g]} to {@code ends[g]} of A with B of group g.
     *
     * @param b a matrix for each group
     */
    static void gemm(ScaledTensor a, long[] begins, long[] ends, List<ScaledTensor> b, Tensor d, CpuPool pool) {
        GroupedGemm all = new GroupedGemm();
        try {
            for (int g = 0; g < begins.length; g++) {
                if (begins[g] < ends[g] && b.get(g).rows() > 0) {
                    all.add(a, begins[g], ends[g], b.get(g), d);
                }
            }
            all.run(pool);
        } finally {
            all.operands.forEach(GemmOperand::close);
            Reference.reachabilityFence(a);
            Reference.reachabilityFence(b);
            Reference.reachabilityFence(d);
        }
    }

    private void add(ScaledTensor a, long from, long to, ScaledTensor b, Tensor d) {
        GemmOperand x = new GemmOperand(a, from, to);
        operands.add(x);
        GemmOperand w = new GemmOperand(b);
        operands.add(w);
        Product product = new Product(x, w, new GemmOutput(d, from, Epilogue.NONE));
        (product.isSmall() ? products : large).add(product);
    }

    // ---------------------------------------------------------------------------------------------- batches

    /** Products whose packed A lie in memory together, and where the tasks of each begin. */
    private static final class Batch {
        final List<Product> products;
        /** Rows of B of a task with few rows of A. */
        final int taskRows;
        final int[] packing;
        final int[] multiplying;

        Batch(List<Product> products, int which, int taskRows) {
            this.products = products;
            this.taskRows = taskRows;
            int few = 0;
            int many = 0;
            for (Product p : products) {
                if (p.fewRows) {
                    few += p.packedFloats();
                } else {
                    many += p.packedFloats();
                }
            }
            long rows = Scratch.get(SLOT_PACKED + which, 4L * few).address();
            GemmWorkspace work = GemmWorkspace.mine();
            float[] values = work.packedA(which, many);
            float[] scales = work.scalesA(which, (many + few) / BLOCK);
            int fewAt = many / BLOCK;
            packing = new int[products.size() + 1];
            multiplying = new int[products.size() + 1];
            int at = 0;
            for (int i = 0; i < products.size(); i++) {
                Product p = products.get(i);
                int floats = p.packedFloats();
                if (p.fewRows) {
                    SkinnyGemm skinny = new SkinnyGemm(p.a, p.b, p.out, rows, scales, fewAt);
                    p.skinny = skinny;
                    rows += 4L * floats;
                    fewAt += floats / BLOCK;
                    packing[i + 1] = packing[i] + 1;
                    multiplying[i + 1] = multiplying[i] + skinny.tasks(taskRows);
                } else {
                    TiledGemm tiled = new TiledGemm(p.a, p.b, p.out, values, at, scales, at / BLOCK);
                    p.tiled = tiled;
                    at += floats;
                    packing[i + 1] = packing[i] + tiled.packingTasks();
                    multiplying[i + 1] = multiplying[i] + tiled.tasks();
                }
            }
        }

        int packingTasks() {
            return packing[products.size()];
        }

        int tasks() {
            return multiplying[products.size()];
        }

        void pack(int task) {
            int i = indexOf(task, packing);
            Product p = products.get(i);
            if (p.skinny != null) {
                p.skinny.pack();
            } else if (p.tiled != null) {
                p.tiled.pack(task - packing[i]);
            }
        }

        void multiply(int task) {
            int i = indexOf(task, multiplying);
            Product p = products.get(i);
            if (p.skinny != null) {
                p.skinny.multiply(task - multiplying[i], taskRows);
            } else if (p.tiled != null) {
                p.tiled.multiply(task - multiplying[i]);
            }
        }

        /** {@return the last product whose tasks begin at or before one; a product without tasks is never it} */
        private static int indexOf(int task, int[] begins) {
            int i = Arrays.binarySearch(begins, task);
            if (i < 0) {
                return -i - 2;
            }
            while (begins[i + 1] == task) {
                i++;
            }
            return i;
        }
    }

    private void run(CpuPool pool) {
        if (products.size() == 1) {
            products.getFirst().multiplyAlone(pool);
        } else if (!products.isEmpty()) {
            runBatches(pool);
        }
        for (Product p : large) {
            p.multiplyAlone(pool);
        }
    }

    private void runBatches(CpuPool pool) {
        long rowsB = 0;
        for (Product p : products) {
            rowsB += p.fewRows ? p.b.rows : 0;
        }
        int taskRows = SkinnyGemm.taskRows(rowsB, pool.threads());
        int number = 0;
        Batch next = batch(0, number, taskRows);
        pool.run(next.packingTasks(), next::pack);
        int done = 0;
        while (next != null) {
            Batch current = next;
            done += current.products.size();
            number++;
            next = done < products.size() ? batch(done, number % 2, taskRows) : null;
            Batch coming = next;
            int tasks = current.tasks();
            pool.run(tasks + (coming == null ? 0 : coming.packingTasks()), task -> {
                if (task < tasks) {
                    current.multiply(task);
                } else if (coming != null) {
                    coming.pack(task - tasks);
                }
            });
        }
    }

    /** {@return a batch of the products from one on, as many as fit} */
    private Batch batch(int from, int which, int taskRows) {
        int to = from;
        for (long floats = 0; to < products.size(); to++) {
            floats += products.get(to).packedFloats();
            if (to > from && floats > BATCH_FLOATS) {
                break;
            }
        }
        return new Batch(products.subList(from, to), which, taskRows);
    }
}
