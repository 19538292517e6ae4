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

    private static final ThreadLocal<GroupedGemm> MINE = ThreadLocal.withInitial(GroupedGemm::new);

    /** All that were ever needed: descriptors are used again, so that a call leaves nothing to the garbage collector. */
    private final List<Product> made = new ArrayList<>();
    private int used;
    private final List<Product> products = new ArrayList<>();
    private final List<Product> large = new ArrayList<>();
    private final Batch[] batches = {new Batch(), new Batch()};

    private GroupedGemm() {}

    /**
     * Multiplies rows {@code begins[g]} to {@code ends[g]} of A with B of group g.
     *
     * @param b a matrix for each group
     */
    static void gemm(ScaledTensor a, long[] begins, long[] ends, List<ScaledTensor> b, Tensor d, CpuPool pool) {
        GroupedGemm all = MINE.get();
        try {
            for (int g = 0; g < begins.length; g++) {
                if (begins[g] < ends[g] && b.get(g).rows() > 0) {
                    all.add(a, begins[g], ends[g], b.get(g), d);
                }
            }
            all.run(pool);
        } finally {
            all.clear();
            Reference.reachabilityFence(a);
            Reference.reachabilityFence(b);
            Reference.reachabilityFence(d);
        }
    }

    private void add(ScaledTensor a, long from, long to, ScaledTensor b, Tensor d) {
        if (used == made.size()) {
            made.add(new Product());
        }
        Product product = made.get(used++);
        product.set(a, from, to, b, d, Epilogue.NONE);
        (isSmall(product) ? products : large).add(product);
    }

    private static boolean isSmall(Product p) {
        return p.fewRows ? SkinnyGemm.packedFloats(p.a) <= BATCH_FLOATS : TiledGemm.isOneSlab(p.a);
    }

    private static int packedFloats(Product p) {
        return p.fewRows ? (int) SkinnyGemm.packedFloats(p.a) : TiledGemm.packedFloats(p.a);
    }

    private void clear() {
        for (int i = 0; i < used; i++) {
            made.get(i).clear();
        }
        used = 0;
        products.clear();
        large.clear();
    }

    // ---------------------------------------------------------------------------------------------- batches

    /** Products whose packed A lie in memory together, and where the tasks of each begin. */
    private static final class Batch {
        private List<Product> products = List.of();
        private int size;
        /** Rows of B of a task with few rows of A. */
        private int taskRows;
        private int[] packing = new int[1];
        private int[] multiplying = new int[1];

        /** Becomes products {@code from} to {@code to - 1}, the first or the second batch under way. */
        void set(List<Product> all, int from, int to, int which, int taskRows) {
            products = from == 0 && to == all.size() ? all : all.subList(from, to);
            size = to - from;
            this.taskRows = taskRows;
            int few = 0;
            int many = 0;
            for (int i = 0; i < size; i++) {
                Product p = products.get(i);
                if (p.fewRows) {
                    few += packedFloats(p);
                } else {
                    many += packedFloats(p);
                }
            }
            long rows = Scratch.get(SLOT_PACKED + which, 4L * few).address();
            GemmWorkspace work = GemmWorkspace.mine();
            float[] values = work.packedA[which].array(many);
            int valuesAt = work.packedA[which].begin();
            float[] scales = work.scalesA(which, (many + few) / BLOCK);
            int fewAt = many / BLOCK;
            if (packing.length <= size) {
                packing = new int[size + 1];
                multiplying = new int[size + 1];
            }
            int at = 0;
            for (int i = 0; i < size; i++) {
                Product p = products.get(i);
                int floats = packedFloats(p);
                if (p.fewRows) {
                    p.skinny.place(rows, scales, fewAt);
                    rows += 4L * floats;
                    fewAt += floats / BLOCK;
                    packing[i + 1] = packing[i] + 1;
                    multiplying[i + 1] = multiplying[i] + p.skinny.tasks(taskRows);
                } else {
                    p.tiled.place(values, valuesAt + at, scales, at / BLOCK, 1);
                    at += floats;
                    packing[i + 1] = packing[i] + p.tiled.packingTasks();
                    multiplying[i + 1] = multiplying[i] + p.tiled.tasks();
                }
            }
        }

        int packingTasks() {
            return packing[size];
        }

        int tasks() {
            return multiplying[size];
        }

        void pack(int task) {
            int i = indexOf(task, packing);
            Product p = products.get(i);
            if (p.fewRows) {
                p.skinny.pack();
            } else {
                p.tiled.pack(task - packing[i]);
            }
        }

        void multiply(int task) {
            int i = indexOf(task, multiplying);
            Product p = products.get(i);
            if (p.fewRows) {
                p.skinny.multiply(task - multiplying[i], taskRows);
            } else {
                p.tiled.multiply(task - multiplying[i]);
            }
        }

        /** {@return the last product whose tasks begin at or before one; a product without tasks is never it} */
        private int indexOf(int task, int[] begins) {
            int i = Arrays.binarySearch(begins, 0, size + 1, task);
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
            products.getFirst().multiply(pool);
        } else if (!products.isEmpty()) {
            runBatches(pool);
        }
        for (Product p : large) {
            p.multiply(pool);
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
            done += current.size;
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
            floats += packedFloats(products.get(to));
            if (to > from && floats > BATCH_FLOATS) {
                break;
            }
        }
        batches[which].set(products, from, to, which, taskRows);
        return batches[which];
    }
}
