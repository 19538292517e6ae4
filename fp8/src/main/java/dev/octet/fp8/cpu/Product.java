package dev.octet.fp8.cpu;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.ScaledTensor;

/**
 * A product's descriptors, of the tiled and of the skinny kind, to be used again: threads keep theirs, so that a call
 * leaves nothing to the garbage collector.
 */
final class Product {
    private static final ThreadLocal<Product> MINE = ThreadLocal.withInitial(Product::new);

    final GemmOperand a = new GemmOperand();
    final GemmOperand b = new GemmOperand();
    final GemmOutput out = new GemmOutput();
    final TiledGemm tiled = new TiledGemm(a, b, out);
    final SkinnyGemm skinny = new SkinnyGemm(a, b, out);
    boolean fewRows;

    /** {@return the thread's, for a product by itself} */
    static Product mine() {
        return MINE.get();
    }

    /** Becomes rows {@code from} to {@code to - 1} of A times all of B, in the same rows of D; {@link #clear} ends that. */
    void set(ScaledTensor x, long from, long to, ScaledTensor w, Tensor d, Epilogue epilogue) {
        a.set(x, from, to);
        b.set(w, 0, w.rows());
        out.set(d, from, epilogue);
        fewRows = SkinnyGemm.takes(a, b);
    }

    /** Keeps nothing of the caller's alive. */
    void clear() {
        a.close();
        b.close();
        out.clear();
    }

    void multiply(CpuPool pool) {
        if (fewRows) {
            skinny.multiply(pool);
        } else if (TiledGemm.isOneSlab(a)) {
            tiled.multiply(pool);
        } else {
            TiledGemm.gemm(a, b, out, pool);
        }
    }
}
