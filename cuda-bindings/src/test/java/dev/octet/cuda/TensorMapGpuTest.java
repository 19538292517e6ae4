package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.cuda.TensorMap.Element;
import dev.octet.cuda.TensorMap.Layout;
import dev.octet.cuda.TensorMap.Swizzle;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Boxes that the tensor memory accelerator copies: which bytes of the matrix, in which order, and 0 outside. */
@Tag("sanitizer")
class TensorMapGpuTest extends GpuTest {
    private static final int ROWS = 37;
    private static final int COLUMNS = 300;
    private static final int ROW_BYTES = 304;

    @BeforeEach
    void hopper() {
        needs(9, 0);
    }

    @Test
    void aBoxInside() {
        check(16, 32, Swizzle.NONE, 64, 5);
    }

    @Test
    void aBoxThatReachesOut() {
        check(16, 64, Swizzle.NONE, 272, 30);
        check(16, 64, Swizzle.NONE, -16, -3);
    }

    @Test
    void swizzledBoxes() {
        check(64, 128, Swizzle.B128, 128, 3);
        check(16, 64, Swizzle.B64, 0, 0);
        check(8, 32, Swizzle.B32, 32, 30);
    }

    private void check(int boxRows, int boxColumns, Swizzle swizzle, int x, int y) {
        int bytes = boxRows * boxColumns;
        try (Arena arena = Arena.ofConfined(); DeviceBuffer matrix = gpu.allocate((long) ROWS * ROW_BYTES);
                DeviceBuffer out = gpu.allocate(bytes)) {
            MemorySegment host = arena.allocate(matrix.byteSize());
            for (int r = 0; r < ROWS; r++) {
                for (int c = 0; c < ROW_BYTES; c++) {
                    host.set(ValueLayout.JAVA_BYTE, (long) r * ROW_BYTES + c, value(r, c));
                }
            }
            matrix.write(0, host);
            TensorMap map = new TensorMap().encode(gpu,
                    Layout.matrix(Element.U8, ROWS, COLUMNS, ROW_BYTES, boxRows, boxColumns, swizzle),
                    matrix.address());
            gpu.kernel(KERNELS, "copyBox").prepare().block(128).setTensorMap(0, map).setPointer(1, out).setInt(2, x)
                    .setInt(3, y).setInt(4, bytes).launch();
            MemorySegment box = arena.allocate(bytes);
            out.read(0, box);
            for (int r = 0; r < boxRows; r++) {
                for (int c = 0; c < boxColumns; c++) {
                    boolean inside = y + r >= 0 && y + r < ROWS && x + c >= 0 && x + c < COLUMNS;
                    int at = r * boxColumns + c;
                    assertEquals(inside ? value(y + r, x + c) : 0,
                            box.get(ValueLayout.JAVA_BYTE, at ^ pattern(swizzle, at)),
                            "row " + r + ", column " + c + " of " + swizzle);
                }
            }
        }
    }

    /** The 16-byte pieces within 32, 64 or 128 bytes are exchanged by the number of the 128-byte line. */
    private static int pattern(Swizzle swizzle, int at) {
        int line = at / 128;
        return switch (swizzle) {
            case NONE -> 0;
            case B32 -> (line & 1) << 4;
            case B64 -> (line & 3) << 4;
            case B128 -> (line & 7) << 4;
        };
    }

    private static byte value(int row, int column) {
        return (byte) (row * 31 + column * 7 + 1);
    }
}
