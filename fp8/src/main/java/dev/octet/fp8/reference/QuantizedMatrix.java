package dev.octet.fp8.reference;

import dev.octet.core.DType;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.ScaledTensor;

/** A {@link ScaledTensor} in host memory, read element by element, whatever its strides. */
final class QuantizedMatrix {
    private final HostMatrix codes;
    private final HostMatrix scales;
    private final boolean e8m0;
    private final long blockRows;
    private final long blockColumns;
    private final double[] values = new double[256];

    QuantizedMatrix(ScaledTensor t) {
        codes = new HostMatrix(t.codes());
        scales = new HostMatrix(t.scales());
        e8m0 = t.scales().dtype() == DType.F8_E8M0;
        blockRows = t.scaling().granularity().blockRows();
        blockColumns = t.scaling().granularity().blockColumns();
        for (int code = 0; code < 256; code++) {
            values[code] = Fp8Codec.decode(t.format(), (byte) code);
        }
    }

    /** The value of a code, without its scale; exact. */
    double code(long row, long column) {
        return values[codes.code(row, column) & 0xFF];
    }

    /** The scale of the block that holds an element; exact. */
    float scale(long row, long column) {
        long r = row / blockRows;
        long c = column / blockColumns;
        return e8m0 ? Fp8Codec.decodeE8M0(scales.code(r, c)) : scales.get(r, c);
    }
}
