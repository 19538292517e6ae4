package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.cuda.TensorMap.Element;
import dev.octet.cuda.TensorMap.Layout;
import dev.octet.cuda.TensorMap.Promotion;
import dev.octet.cuda.TensorMap.Swizzle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.Test;

/** What the copy engine asks of a tensor map is asked before the driver sees it, which sees the right numbers. */
class TensorMapTest {
    private final FakeDriver driver = new FakeDriver();
    private final CudaDevice gpu = new CudaDevice(driver, 0);

    @Test
    void theDriverSeesWhatWasAskedFor() {
        Layout tile = Layout.matrix(Element.U8, 4096, 7168, 7168, 128, 128, Swizzle.B128);
        assertEquals(128 * 128, tile.boxBytes());
        TensorMap map = new TensorMap();
        assertEquals(0, map.segment().address() % 128);
        map.encode(gpu, tile, 0x7000_0000_0010L);
        ByteBuffer seen = ByteBuffer.wrap(driver.tensorMap).order(ByteOrder.LITTLE_ENDIAN);
        assertEquals(0x7000_0000_0010L, seen.getLong(0));
        assertEquals(0, seen.getInt(8), "CU_TENSOR_MAP_DATA_TYPE_UINT8");
        assertEquals(2, seen.getInt(12));
        assertEquals(3, seen.getInt(16), "CU_TENSOR_MAP_SWIZZLE_128B");
        assertEquals(3, seen.getInt(20), "CU_TENSOR_MAP_L2_PROMOTION_L2_256B");
        assertEquals(0, seen.getInt(24));
        assertEquals(128, seen.getInt(32));
        assertEquals(128, seen.getInt(36));
        assertEquals(7168, seen.getLong(56), "columns, innermost first");
        assertEquals(4096, seen.getLong(64));
        assertEquals(7168, seen.getLong(96));

        map.encode(gpu, new Layout(Element.F32, new long[] {1L << 32, 5, 7}, new long[] {1L << 35, 16},
                new int[] {4, 5, 256}, Swizzle.NONE, Promotion.NONE, true), 64);
        assertEquals(7, seen.getInt(8), "CU_TENSOR_MAP_DATA_TYPE_FLOAT32");
        assertEquals(1, seen.getInt(24));
        assertEquals(1L << 35, seen.getLong(96));
        assertEquals(16, seen.getLong(104));
    }

    @Test
    void whatDoesNotFitIsRefusedByName() {
        refused("dims", () -> layout(new long[] {}, new long[] {}, new int[] {}));
        refused("dims", () -> layout(new long[6], new long[5], new int[6]));
        refused("dims", () -> layout(new long[] {0, 4}, new long[] {16}, new int[] {16, 4}));
        refused("dims", () -> layout(new long[] {(1L << 32) + 1}, new long[] {}, new int[] {16}));
        refused("strides", () -> layout(new long[] {16, 4}, new long[] {8}, new int[] {16, 4}));
        refused("strides", () -> layout(new long[] {16, 4}, new long[] {1L << 40}, new int[] {16, 4}));
        refused("strides", () -> layout(new long[] {16, 4}, new long[] {16, 64}, new int[] {16, 4}));
        refused("box", () -> layout(new long[] {16, 4}, new long[] {16}, new int[] {16}));
        refused("box", () -> layout(new long[] {16, 4}, new long[] {16}, new int[] {16, 257}));
        refused("box", () -> layout(new long[] {16, 4}, new long[] {16}, new int[] {0, 4}));
        refused("box", () -> layout(new long[] {16, 4}, new long[] {16}, new int[] {24, 4}));
        refused("box", () -> Layout.matrix(Element.BF16, 4, 256, 512, 4, 128, Swizzle.B128));
        refused("nanOutside", () -> new Layout(Element.U8, new long[] {16}, new long[] {}, new int[] {16},
                Swizzle.NONE, Promotion.NONE, true));
        Layout good = layout(new long[] {16, 4}, new long[] {16}, new int[] {16, 4});
        refused("address", () -> new TensorMap().encode(gpu, good, 8));
        refused("address", () -> new TensorMap().encode(gpu, good, 0));
        assertTrue(driver.calls.stream().noneMatch("encodeTiled"::equals));
    }

    private static Layout layout(long[] dims, long[] strides, int[] box) {
        return new Layout(Element.U8, dims, strides, box, Swizzle.NONE, Promotion.B256, false);
    }

    private static void refused(String argument, Runnable encode) {
        String message = assertThrows(IllegalArgumentException.class, encode::run).getMessage();
        assertTrue(message.startsWith(argument), message);
    }
}
