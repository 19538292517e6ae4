package dev.octet.fp8.cpu;

import dev.octet.fp8.Fp8Codec;

/** Element by element, for what the kernels leave out: codes that are not finite, and operands of unusual layout. */
final class GemmCodes {
    private GemmCodes() {}

    static float decode(GemmOperand x, long row, long column) {
        return Fp8Codec.decode(x.format, x.code(row, column));
    }

    /** {@return one sum, with IEEE rules for NaN and infinities} */
    static float sum(GemmOperand a, GemmOperand b, long m, long n) {
        float sum = 0;
        for (int block = 0; block < a.blocks(); block++) {
            double partial = 0;
            for (long k = block * 128L, end = Math.min(a.k, k + 128); k < end; k++) {
                partial += (double) decode(a, m, k) * decode(b, n, k);
            }
            sum = Math.fma((float) partial, a.scale(m, block) * b.scale(n, block), sum);
        }
        return sum;
    }
}
