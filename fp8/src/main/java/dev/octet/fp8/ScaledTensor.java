package dev.octet.fp8;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.util.List;
import java.util.Objects;
import java.util.stream.LongStream;

/**
 * An FP8 matrix: codes, and the scales that give them their values. Element {@code (r, c)} is
 * {@code decode(codes[r, c]) * scales[r / blockRows, c / blockColumns]}.
 *
 * <p>The record is immutable; it may be shared like the tensors it holds.
 *
 * @param codes {@code [rows, columns]} of {@link DType#F8_E4M3} or {@link DType#F8_E5M2}, of any strides
 * @param scales of the shape that the granularity asks for, of any strides; {@link DType#F32}, or
 *     {@link DType#F8_E8M0} with {@link ScaleFormat#E8M0}
 * @param scaling how the codes are scaled
 */
public record ScaledTensor(Tensor codes, Tensor scales, Scaling scaling) implements AutoCloseable {
    /**
     * Checks that the three fit together. The values of codes and scales are not looked at.
     *
     * @throws IllegalArgumentException if a rank, dtype, shape or device does not fit; the message names it
     */
    public ScaledTensor {
        if (!codes.dtype().isFp8()) {
            throw new IllegalArgumentException("codes are " + codes.dtype() + ", they must be F8_E4M3 or F8_E5M2");
        }
        if (codes.shape().rank() != 2) {
            throw new IllegalArgumentException("codes have shape " + codes.shape() + ", they must be a matrix");
        }
        if (scales.dtype() != scaling.format().dtype()) {
            throw new IllegalArgumentException("scales are " + scales.dtype() + ", format " + scaling.format()
                    + " takes " + scaling.format().dtype());
        }
        Shape expected = scaling.granularity().scaleShape(codes.dim(0), codes.dim(1));
        if (!scales.shape().equals(expected)) {
            throw new IllegalArgumentException("scales have shape " + scales.shape() + ", codes " + codes.shape()
                    + " with granularity " + scaling.granularity() + " take " + expected);
        }
        if (!scales.device().equals(codes.device())) {
            throw new IllegalArgumentException(
                    "scales are on " + scales.device() + ", codes on " + codes.device());
        }
    }

    /**
     * Allocates zeroed codes and scales that own their memory, the scales in the layout that the GEMM reads: scales of
     * {@link Granularity#BLOCK_1X128} and {@link Granularity#ROW} lie column by column, each column padded to a
     * multiple of 4 rows (16 bytes of FP32), all others row by row.
     *
     * @param format the format of the codes: {@link DType#F8_E4M3} or {@link DType#F8_E5M2}
     * @param rows the rows
     * @param columns the columns
     * @param scaling how the codes are scaled
     * @return a matrix of zeros; close it to free the memory
     */
    public static ScaledTensor allocate(DType format, long rows, long columns, Scaling scaling) {
        return allocate(Device.CPU, format, rows, columns, scaling);
    }

    /**
     * Allocates zeroed codes and scales on any device; see {@link #allocate(DType, long, long, Scaling)}.
     *
     * @param device where
     * @param format the format of the codes: {@link DType#F8_E4M3} or {@link DType#F8_E5M2}
     * @param rows the rows
     * @param columns the columns
     * @param scaling how the codes are scaled
     * @return a matrix of zeros; close it to free the memory
     * @throws IllegalArgumentException if no such device can be used here; the message has the reason
     */
    public static ScaledTensor allocate(Device device, DType format, long rows, long columns, Scaling scaling) {
        if (!format.isFp8()) {
            throw new IllegalArgumentException("format is " + format + ", it must be F8_E4M3 or F8_E5M2");
        }
        Tensor codes = Tensor.allocate(device, format, Shape.of(rows, columns));
        try {
            return new ScaledTensor(codes, allocateScales(device, rows, columns, scaling), scaling);
        } catch (RuntimeException | Error e) {
            codes.close();
            throw e;
        }
    }

    private static Tensor allocateScales(Device device, long rows, long columns, Scaling scaling) {
        Shape shape = scaling.granularity().scaleShape(rows, columns);
        if (scaling.granularity().blockRows() == 1) {
            return Tensor.allocateStrided(device, scaling.format().dtype(), shape, 1, Math.ceilDiv(rows, 4L) * 4);
        }
        return Tensor.allocate(device, scaling.format().dtype(), shape);
    }

    /** {@return the number of rows} */
    public long rows() {
        return codes.dim(0);
    }

    /** {@return the number of columns} */
    public long columns() {
        return codes.dim(1);
    }

    /** {@return the format of the codes, {@link DType#F8_E4M3} or {@link DType#F8_E5M2}} */
    public DType format() {
        return codes.dtype();
    }

    /** {@return where codes and scales lie} */
    public Device device() {
        return codes.device();
    }

    /** {@return the bytes of all codes and scales, padding not counted} */
    public long byteSize() {
        return codes.shape().elements() + scales.shape().elements() * scales.dtype().byteSize();
    }

    /**
     * Copies to another device.
     *
     * @param device where to
     * @return a copy that owns its memory, laid out as {@link #allocate(DType, long, long, Scaling)} does
     * @throws IllegalArgumentException if no such device can be used here; the message has the reason
     */
    public ScaledTensor to(Device device) {
        ScaledTensor t = allocate(device, format(), rows(), columns(), scaling);
        try {
            t.codes.copyFrom(codes);
            t.scales.copyFrom(scales);
            return t;
        } catch (RuntimeException | Error e) {
            t.close();
            throw e;
        }
    }

    /**
     * {@return the transposed matrix, without a copy; it does not own the memory}
     *
     * @throws IllegalArgumentException if the granularity is {@link Granularity#ROW}
     */
    public ScaledTensor transpose() {
        return new ScaledTensor(codes.transpose(), scales.transpose(), scaling.transposed());
    }

    /**
     * Takes a range of rows, without a copy.
     *
     * @param from the first row; where a block of scales has several rows, the first of a block
     * @param to one past the last row; where a block of scales has several rows, the end of a block or of the matrix
     * @return a view; it does not own the memory
     * @throws IndexOutOfBoundsException if there is no such range
     * @throws IllegalArgumentException if the range begins or ends inside a block; the message names it
     */
    public ScaledTensor sliceRows(long from, long to) {
        Objects.checkFromToIndex(from, to, rows());
        return new ScaledTensor(codes.slice(0, from, to),
                sliceScales(0, from, to, rows(), scaling.granularity().blockRows()), scaling);
    }

    /**
     * Takes a range of columns, without a copy.
     *
     * @param from the first column; where a block of scales has several columns, the first of a block
     * @param to one past the last column; where a block of scales has several columns, the end of a block or of the
     *     matrix
     * @return a view; it does not own the memory
     * @throws IndexOutOfBoundsException if there is no such range
     * @throws IllegalArgumentException if the range begins or ends inside a block; the message names it
     */
    public ScaledTensor sliceColumns(long from, long to) {
        Objects.checkFromToIndex(from, to, columns());
        return new ScaledTensor(codes.slice(1, from, to),
                sliceScales(1, from, to, columns(), scaling.granularity().blockColumns()), scaling);
    }

    private Tensor sliceScales(int dim, long from, long to, long extent, long block) {
        if (block == Long.MAX_VALUE) {
            return scales;
        }
        if (from < to && (from % block != 0 || to % block != 0 && to != extent)) {
            throw new IllegalArgumentException((dim == 0 ? "rows " : "columns ") + from + " to " + to
                    + " cut a block of scales, granularity " + scaling.granularity() + " has " + block);
        }
        return from == to ? scales.slice(dim, 0, 0) : scales.slice(dim, from / block, Math.ceilDiv(to, block));
    }

    /**
     * Sees matrices of equal height that are stacked on each other, such as the weights of all experts, one by one.
     *
     * @param count how many there are; divides the rows
     * @return views, in the order of the rows; they do not own the memory
     * @throws IllegalArgumentException if the count does not divide the rows, or a matrix ends inside a block of scales
     */
    public List<ScaledTensor> split(int count) {
        if (count < 1 || rows() % count != 0) {
            throw new IllegalArgumentException("count is " + count + ", it must divide the " + rows() + " rows");
        }
        long height = rows() / count;
        return LongStream.range(0, count).mapToObj(i -> sliceRows(i * height, (i + 1) * height)).toList();
    }

    /** Closes codes and scales. */
    @Override
    public void close() {
        codes.close();
        scales.close();
    }
}
