package dev.octet.core;

import dev.octet.core.spi.DeviceProvider;
import dev.octet.core.spi.Storage;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Objects;
import java.util.ServiceLoader;

/**
 * A dense array on a {@link Device}: a {@link DType}, a {@link Shape}, one stride per dimension, and memory.
 *
 * <p><b>Memory.</b> Wrapping a native {@link MemorySegment}, a direct {@link ByteBuffer} or a mapped file copies
 * nothing; {@code float[]} is copied in and out. Sizes, strides and offsets are {@code long}, so a tensor may have more
 * than 2<sup>31</sup> elements. Strides count elements, and are never negative.
 *
 * <p><b>Lifetime</b> follows {@code java.lang.foreign}. A tensor made by {@link #allocate(DType, Shape)} owns its
 * memory and frees it on {@link #close()}; one made from an {@link Arena} or by wrapping lives as long as that memory.
 * A view ({@link #slice}, {@link #transpose}, {@link #reshape}) shares the memory and never owns it. Any use of a
 * tensor that was closed, or whose memory is gone, throws {@link IllegalStateException}; closing twice is harmless.
 *
 * <p><b>Threads.</b> The descriptor is immutable and may be shared. Reading from several threads is safe; writing while
 * another thread reads or writes the same elements, or closing while an operation runs, is the caller's error. Memory
 * from a confined arena can only be used by the thread that owns the arena.
 */
public final class Tensor implements AutoCloseable {
    /** Alignment in bytes of memory that Octet allocates: one cache line, and one 512-bit vector. */
    public static final long ALIGNMENT = 64;


    private final Storage storage;
    private final DType dtype;
    private final Shape shape;
    private final long[] strides;
    private final long offset;
    private final boolean owner;
    private volatile boolean closed;

    private Tensor(Storage storage, DType dtype, Shape shape, long[] strides, long offset, boolean owner) {
        this.storage = storage;
        this.dtype = dtype;
        this.shape = shape;
        this.strides = strides;
        this.offset = offset;
        this.owner = owner;
    }

    // ---------------------------------------------------------------------------------------------- making tensors

    /**
     * Allocates a zeroed tensor that owns its memory. Any thread may use it.
     *
     * @param dtype the element type
     * @param shape the extents
     * @return a contiguous tensor on the CPU; close it to free the memory
     */
    public static Tensor allocate(DType dtype, Shape shape) {
        Arena arena = Arena.ofShared();
        try {
            return contiguous(new HostStorage(allocateSegment(arena, dtype, shape), arena), dtype, shape, true);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    /**
     * Allocates a zeroed tensor from an arena, which frees the memory when it closes.
     *
     * @param arena where the memory comes from
     * @param dtype the element type
     * @param shape the extents
     * @return a contiguous tensor on the CPU
     */
    public static Tensor allocate(Arena arena, DType dtype, Shape shape) {
        return contiguous(new HostStorage(allocateSegment(arena, dtype, shape), null), dtype, shape, false);
    }

    /**
     * Allocates a zeroed tensor on any device. It owns its memory.
     *
     * @param device where
     * @param dtype the element type
     * @param shape the extents
     * @return a contiguous tensor; close it to free the memory
     * @throws IllegalArgumentException if no such device can be used here; the message has the reason
     */
    public static Tensor allocate(Device device, DType dtype, Shape shape) {
        if (device.equals(Device.CPU)) {
            return allocate(dtype, shape);
        }
        return contiguous(allocate(device, byteSize(dtype, shape)), dtype, shape, true);
    }

    private static Storage allocate(Device device, long bytes) {
        for (DeviceProvider p : ServiceLoader.load(DeviceProvider.class, Tensor.class.getClassLoader())) {
            if (p.kind() == device.kind()) {
                p.unavailable().ifPresent(why -> {
                    throw new IllegalArgumentException("device " + device + " can't be used: " + why);
                });
                return p.allocate(device, bytes);
            }
        }
        throw new IllegalArgumentException(
                "device " + device + " can't be used: no module on the class or module path provides "
                        + device.kind() + " devices");
    }

    /**
     * Copies an array into a new F32 tensor that owns its memory.
     *
     * @param values the elements in row-major order
     * @param dims the extents
     * @return a contiguous tensor on the CPU
     * @throws IllegalArgumentException if the number of values is not the product of the extents
     */
    public static Tensor of(float[] values, long... dims) {
        Shape shape = Shape.of(dims);
        if (shape.elements() != values.length) {
            throw new IllegalArgumentException(
                    "values has " + values.length + " elements, shape " + shape + " takes " + shape.elements());
        }
        Tensor t = allocate(DType.F32, shape);
        MemorySegment.copy(values, 0, t.storage.segment(), FloatElements.F32, 0, values.length);
        return t;
    }

    /**
     * Sees native memory as a contiguous tensor, without a copy.
     *
     * @param segment a native segment of at least the tensor's size; the caller keeps its lifetime
     * @param dtype the element type
     * @param shape the extents
     * @return a tensor over the segment's first bytes
     * @throws IllegalArgumentException if the segment is on the Java heap or too small
     */
    public static Tensor wrap(MemorySegment segment, DType dtype, Shape shape) {
        if (!segment.isNative()) {
            throw new IllegalArgumentException(
                    "segment is on the Java heap; kernels read native memory only: copy it with Tensor.of or allocate"
                            + " it from an Arena");
        }
        long bytes = byteSize(dtype, shape);
        if (segment.byteSize() < bytes) {
            throw new IllegalArgumentException("segment has " + segment.byteSize() + " bytes, " + dtype + " " + shape
                    + " takes " + bytes);
        }
        return contiguous(new HostStorage(segment.asSlice(0, bytes), null), dtype, shape, false);
    }

    /**
     * Sees the remaining bytes of a direct buffer, from its position, as a contiguous tensor, without a copy.
     *
     * @param buffer a direct buffer, which the tensor keeps reachable; its byte order does not matter
     * @param dtype the element type
     * @param shape the extents
     * @return a tensor over the buffer's memory
     * @throws IllegalArgumentException if the buffer is not direct or has too few bytes remaining
     */
    public static Tensor wrap(ByteBuffer buffer, DType dtype, Shape shape) {
        if (!buffer.isDirect()) {
            throw new IllegalArgumentException(
                    "buffer is not direct; kernels read native memory only: use ByteBuffer.allocateDirect");
        }
        return wrap(MemorySegment.ofBuffer(buffer), dtype, shape);
    }

    /**
     * Maps a part of a file as a contiguous, read-only tensor, without a copy.
     *
     * @param arena how long the mapping lives
     * @param file the file
     * @param byteOffset where the first element lies in the file
     * @param dtype the element type
     * @param shape the extents
     * @return a tensor over the mapping; writing to it throws
     * @throws IOException if the file can't be read
     * @throws IllegalArgumentException if the file ends before the tensor does
     */
    public static Tensor map(Arena arena, Path file, long byteOffset, DType dtype, Shape shape) throws IOException {
        long bytes = byteSize(dtype, shape);
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            if (byteOffset < 0 || byteOffset > channel.size() - bytes) {
                throw new IllegalArgumentException("byteOffset " + byteOffset + " and " + bytes + " bytes for " + dtype
                        + " " + shape + " do not fit in " + file + ", which has " + channel.size() + " bytes");
            }
            return wrap(channel.map(FileChannel.MapMode.READ_ONLY, byteOffset, bytes, arena), dtype, shape);
        }
    }

    /**
     * Describes memory of any device: the general form, for those who implement devices and layouts. The tensor does
     * not own the memory.
     *
     * @param storage the memory
     * @param dtype the element type
     * @param shape the extents
     * @param strides elements between neighbours in each dimension, not negative; copied
     * @param offset elements from the start of the storage to the first element
     * @return the tensor
     * @throws IllegalArgumentException if an element would lie outside the storage
     */
    public static Tensor view(Storage storage, DType dtype, Shape shape, long[] strides, long offset) {
        Strides.check(shape, strides);
        long last = offset + Strides.extent(shape, strides);
        if (offset < 0 || last < 0 || last > storage.byteSize() / dtype.byteSize()) {
            throw new IllegalArgumentException("strides " + Arrays.toString(strides) + " and offset " + offset
                    + " lead outside the storage of " + storage.byteSize() + " bytes for " + dtype + " " + shape);
        }
        return new Tensor(storage, dtype, shape, strides.clone(), offset, false);
    }

    /**
     * Allocates a zeroed tensor with given strides, for layouts that a kernel asks for, such as padded or transposed
     * scales. It owns its memory.
     *
     * @param dtype the element type
     * @param shape the extents
     * @param strides elements between neighbours in each dimension, not negative; copied
     * @return a tensor on the CPU; close it to free the memory
     */
    public static Tensor allocateStrided(DType dtype, Shape shape, long... strides) {
        Strides.check(shape, strides);
        Arena arena = Arena.ofShared();
        try {
            MemorySegment s = allocateSegment(arena, dtype, Shape.of(Strides.extent(shape, strides)));
            return new Tensor(new HostStorage(s, arena), dtype, shape, strides.clone(), 0, true);
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    /**
     * Allocates a zeroed tensor with given strides on any device. It owns its memory.
     *
     * @param device where
     * @param dtype the element type
     * @param shape the extents
     * @param strides elements between neighbours in each dimension, not negative; copied
     * @return a tensor; close it to free the memory
     * @throws IllegalArgumentException if no such device can be used here; the message has the reason
     */
    public static Tensor allocateStrided(Device device, DType dtype, Shape shape, long... strides) {
        if (device.equals(Device.CPU)) {
            return allocateStrided(dtype, shape, strides);
        }
        Strides.check(shape, strides);
        Storage storage = allocate(device, byteSize(dtype, Shape.of(Strides.extent(shape, strides))));
        return new Tensor(storage, dtype, shape, strides.clone(), 0, true);
    }

    private static Tensor contiguous(Storage storage, DType dtype, Shape shape, boolean owner) {
        return new Tensor(storage, dtype, shape, Strides.rowMajor(shape), 0, owner);
    }

    private static MemorySegment allocateSegment(Arena arena, DType dtype, Shape shape) {
        return arena.allocate(byteSize(dtype, shape), ALIGNMENT);
    }

    private static long byteSize(DType dtype, Shape shape) {
        try {
            return Math.multiplyExact(shape.elements(), (long) dtype.byteSize());
        } catch (ArithmeticException e) {
            throw new IllegalArgumentException("shape " + shape + " of " + dtype + " has more than 2^63-1 bytes", e);
        }
    }

    // ---------------------------------------------------------------------------------------------- descriptor

    /** {@return the element type} */
    public DType dtype() {
        return dtype;
    }

    /** {@return the extents} */
    public Shape shape() {
        return shape;
    }

    /**
     * {@return one extent}
     *
     * @param dim the dimension, from 0 (outermost)
     */
    public long dim(int dim) {
        return shape.dim(dim);
    }

    /**
     * {@return elements between neighbours in one dimension}
     *
     * @param dim the dimension, from 0 (outermost)
     */
    public long stride(int dim) {
        return strides[Objects.checkIndex(dim, strides.length)];
    }

    /** {@return elements between neighbours in each dimension, as a new array} */
    public long[] strides() {
        return strides.clone();
    }

    /** {@return where the memory lies} */
    public Device device() {
        return storage.device();
    }

    /** {@return whether the elements lie in row-major order without gaps} */
    public boolean isContiguous() {
        return shape.elements() == 0 || Strides.isDense(shape, strides, 0);
    }

    // ---------------------------------------------------------------------------------------------- memory

    /** {@return whether the tensor can still be used} */
    public boolean isOpen() {
        return !closed && storage.isAlive();
    }

    Storage storage() {
        return storage;
    }

    long offset() {
        return offset;
    }

    private void checkOpen() {
        if (closed) {
            throw new IllegalStateException("tensor " + dtype + " " + shape + " is closed");
        }
        if (!storage.isAlive()) {
            throw new IllegalStateException("the memory of tensor " + dtype + " " + shape + " is closed");
        }
    }

    /**
     * {@return the memory from the first element to the last, gaps included: byte 0 is the first element}
     *
     * @throws IllegalStateException if the tensor is closed
     * @throws UnsupportedOperationException if the tensor is not on the CPU
     */
    public MemorySegment segment() {
        checkOpen();
        long size = dtype.byteSize();
        return storage.segment().asSlice(offset * size, Strides.extent(shape, strides) * size);
    }

    /**
     * {@return the device address of the first element}
     *
     * @throws IllegalStateException if the tensor is closed
     */
    public long address() {
        checkOpen();
        return storage.address() + offset * dtype.byteSize();
    }

    /**
     * Frees the memory if this tensor owns it, else marks only this tensor as closed. Closing again does nothing.
     */
    @Override
    public void close() {
        closed = true;
        if (owner) {
            storage.close();
        }
    }

    // ---------------------------------------------------------------------------------------------- views

    /**
     * Takes a range of one dimension, without a copy.
     *
     * @param dim the dimension
     * @param from the first index of the range
     * @param to one past the last
     * @return a view with extent {@code to - from} in that dimension
     * @throws IndexOutOfBoundsException if there is no such dimension or range
     */
    public Tensor slice(int dim, long from, long to) {
        checkOpen();
        Objects.checkFromToIndex(from, to, shape.dim(dim));
        long[] dims = shape.toArray();
        dims[dim] = to - from;
        Shape sliced = Shape.of(dims);
        return new Tensor(storage, dtype, sliced, strides, sliced.elements() == 0 ? 0 : offset + from * strides[dim],
                false);
    }

    /**
     * Swaps two dimensions, without a copy.
     *
     * @param a one dimension
     * @param b the other
     * @return a view
     * @throws IndexOutOfBoundsException if there is no such dimension
     */
    public Tensor transpose(int a, int b) {
        checkOpen();
        long[] dims = shape.toArray();
        long[] st = strides.clone();
        dims[Objects.checkIndex(a, dims.length)] = shape.dim(Objects.checkIndex(b, dims.length));
        dims[b] = shape.dim(a);
        st[a] = strides[b];
        st[b] = strides[a];
        return new Tensor(storage, dtype, Shape.of(dims), st, offset, false);
    }

    /**
     * {@return a matrix with rows and columns swapped, without a copy}
     *
     * @throws IllegalArgumentException if the rank is not 2
     */
    public Tensor transpose() {
        if (shape.rank() != 2) {
            throw new IllegalArgumentException("transpose() takes a matrix, shape is " + shape);
        }
        return transpose(0, 1);
    }

    /**
     * Sees the same elements in the same order under another shape, without a copy.
     *
     * @param dims the new extents
     * @return a view
     * @throws IllegalArgumentException if the number of elements differs, or if the strides make it impossible without
     *     a copy: take {@link #copy()} first
     */
    public Tensor reshape(long... dims) {
        checkOpen();
        Shape target = Shape.of(dims);
        if (target.elements() != shape.elements()) {
            throw new IllegalArgumentException("dims " + target + " have " + target.elements() + " elements, shape "
                    + shape + " has " + shape.elements());
        }
        if (shape.elements() == 0) {
            return new Tensor(storage, dtype, target, Strides.rowMajor(target), 0, false);
        }
        return new Tensor(storage, dtype, target, Strides.reshape(shape, strides, target), offset, false);
    }

    // ---------------------------------------------------------------------------------------------- copies

    /** {@return a contiguous copy on the same device, which owns its memory} */
    public Tensor copy() {
        return to(device());
    }

    /**
     * Copies to another device.
     *
     * @param device where to
     * @return a contiguous copy, which owns its memory
     * @throws IllegalArgumentException if no such device can be used here; the message has the reason
     */
    public Tensor to(Device device) {
        Tensor t = allocate(device, dtype, shape);
        try {
            t.copyFrom(this);
            return t;
        } catch (RuntimeException | Error e) {
            t.close();
            throw e;
        }
    }

    /**
     * Copies all elements of another tensor into this one. Both may be strided, and on the CPU they may overlap. On
     * another device a strided tensor is copied by way of the host, and what lies between its elements is read and
     * written back: nobody else may write there meanwhile.
     *
     * @param source a tensor of the same dtype and shape
     * @throws IllegalArgumentException if dtype or shape differ; nothing was written then
     */
    public void copyFrom(Tensor source) {
        checkOpen();
        source.checkOpen();
        if (source.dtype != dtype || !source.shape.equals(shape)) {
            throw new IllegalArgumentException("source is " + source.dtype + " " + source.shape + ", this tensor is "
                    + dtype + " " + shape);
        }
        if (shape.elements() == 0) {
            return;
        }
        boolean fromHost = source.device().equals(Device.CPU);
        boolean toHost = device().equals(Device.CPU);
        if (fromHost && toHost) {
            MemorySegment from = source.segment();
            MemorySegment to = segment();
            boolean dense = isContiguous() && source.isContiguous(); // one block, whose copy minds the overlap
            if (!dense && from.asOverlappingSlice(to).isPresent()) {
                try (Tensor apart = source.copy()) {
                    StridedCopy.copy(dtype, shape, apart.segment(), apart.strides, to, strides);
                }
            } else {
                StridedCopy.copy(dtype, shape, from, source.strides, to, strides);
            }
            return;
        }
        DeviceCopy.copy(source, this);
    }

    /**
     * Copies the elements out in row-major order, BF16 and F16 widened exactly.
     *
     * @return a new array
     * @throws IllegalArgumentException if the dtype is not F32, BF16 or F16 (FP8 codes mean nothing without their
     *     scales), or there are more than 2^31-1 elements
     */
    public float[] toFloatArray() {
        checkOpen();
        if (!dtype.isFloat()) {
            throw new IllegalArgumentException("dtype " + dtype + " can't be read as floats; F32, BF16 and F16 can");
        }
        if (shape.elements() > Integer.MAX_VALUE - 8) {
            throw new IllegalArgumentException("shape " + shape + " has too many elements for an array");
        }
        try (Tensor host = isContiguous() && device().equals(Device.CPU) ? view(this) : copyToHost()) {
            MemorySegment s = host.segment();
            float[] out = new float[(int) shape.elements()];
            for (int i = 0; i < out.length; i++) {
                out[i] = FloatElements.load(s, dtype, i);
            }
            return out;
        }
    }

    private static Tensor view(Tensor t) {
        return new Tensor(t.storage, t.dtype, t.shape, t.strides, t.offset, false);
    }

    private Tensor copyToHost() {
        return device().equals(Device.CPU) ? copy() : to(Device.CPU);
    }

    /**
     * Fills the tensor from an array in row-major order. BF16 and F16 are rounded to nearest, ties to even.
     *
     * @param values one value for each element
     * @throws IllegalArgumentException if the length differs or the dtype is not F32, BF16 or F16
     */
    public void copyFrom(float[] values) {
        checkOpen();
        if (!dtype.isFloat()) {
            throw new IllegalArgumentException(
                    "dtype " + dtype + " can't be filled with floats; F32, BF16 and F16 can");
        }
        if (values.length != shape.elements()) {
            throw new IllegalArgumentException(
                    "values has " + values.length + " elements, shape " + shape + " takes " + shape.elements());
        }
        try (Tensor host = isContiguous() && device().equals(Device.CPU) ? view(this)
                : allocate(dtype, shape)) {
            MemorySegment s = host.segment();
            for (int i = 0; i < values.length; i++) {
                FloatElements.store(s, dtype, i, values[i]);
            }
            if (host.storage != storage) {
                copyFrom(host);
            }
        }
    }

    /**
     * Reads one element of a matrix on the CPU, for tests and small things; kernels read {@link #segment()}.
     *
     * @param row the row
     * @param column the column
     * @return its value
     * @throws IndexOutOfBoundsException if there is no such element
     * @throws IllegalArgumentException if the rank is not 2 or the dtype is not F32, BF16 or F16
     */
    public float getFloat(long row, long column) {
        if (shape.rank() != 2) {
            throw new IllegalArgumentException("getFloat(row, column) takes a matrix, shape is " + shape);
        }
        Objects.checkIndex(row, shape.dim(0));
        Objects.checkIndex(column, shape.dim(1));
        return FloatElements.load(segment(), dtype, row * strides[0] + column * strides[1]);
    }

    /** {@return dtype, shape and device, for example {@code F8_E4M3 [576, 7168] on cpu}} */
    @Override
    public String toString() {
        return dtype + " " + shape + (isContiguous() ? "" : " strides " + Arrays.toString(strides)) + " on "
                + storage.device() + (isOpen() ? "" : " (closed)");
    }
}
