package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** What grouped GEMMs and slices of quantised matrices refuse: with which message, and with the output untouched. */
class GroupedGemmRefusalTest {
    private static final Scaling COLUMNS = new Scaling(Granularity.BLOCK_128X1, ScaleFormat.F32);

    private final Arena arena = Arena.ofShared();
    private final Fp8 fp8 = Fp8.auto();
    private final ScaledTensor a = zeros(8, 200, Scaling.ACTIVATION);
    private final ScaledTensor b = zeros(6, 200, Scaling.WEIGHT);
    private final Layout.Placed d = Layout.CONTIGUOUS.place(arena, DType.F32, 8, 6);

    @AfterEach
    void free() {
        arena.close();
    }

    private ScaledTensor zeros(long rows, long columns, Scaling scaling) {
        ScaledTensor t = Matrices.place(arena, Layout.CONTIGUOUS, DType.F8_E4M3, rows, columns, scaling);
        t.codes().segment().fill((byte) 0);
        t.scales().segment().fill((byte) 0);
        return t;
    }

    private void illegal(String message, Executable call) {
        refused(IllegalArgumentException.class, message, call);
    }

    private void refused(Class<? extends RuntimeException> type, String message, Executable call) {
        RuntimeException e = assertThrows(type, call);
        assertTrue(e.getMessage().startsWith(message), e.getMessage());
        for (long i = 0; i < d.memory().byteSize(); i++) {
            assertEquals(-1, d.memory().get(ValueLayout.JAVA_BYTE, i), "byte " + i);
        }
    }

    private void grouped(String message, long[] offsets, List<ScaledTensor> weights) {
        illegal(message, () -> fp8.groupedGemm(a, offsets, weights, d.view()));
    }

    @Test
    void offsets() {
        grouped("offsets has 1 elements", new long[1], List.of());
        grouped("offsets[0] is 1, it must be 0", new long[] {1, 8}, List.of(b));
        grouped("offsets[2] is 3, it must be at least the one before, 4", new long[] {0, 4, 3}, List.of(b, b));
        grouped("offsets[1] is -1", new long[] {0, -1}, List.of(b));
        grouped("offsets[2] is 9, there are 8 rows of a", new long[] {0, 4, 9}, List.of(b, b));
        grouped("b has 1 matrices, offsets has 2 groups", new long[] {0, 4, 8}, List.of(b));
    }

    @Test
    void counts() {
        illegal("counts has 0 elements", () -> fp8.maskedGroupedGemm(a, new long[0], List.of(), d.view()));
        illegal("counts has 3 elements, their number must divide the 8 rows",
                () -> fp8.maskedGroupedGemm(a, new long[3], List.of(b, b, b), d.view()));
        illegal("counts[1] is 5, it must be 0 to 4",
                () -> fp8.maskedGroupedGemm(a, new long[] {0, 5}, List.of(b, b), d.view()));
        illegal("counts[0] is -1", () -> fp8.maskedGroupedGemm(a, new long[] {-1, 1}, List.of(b, b), d.view()));
        illegal("b has 1 matrices, counts has 2 groups",
                () -> fp8.maskedGroupedGemm(a, new long[] {1, 1}, List.of(b), d.view()));
    }

    @Test
    void matrices() {
        long[] two = {0, 4, 8};
        grouped("group 1: a is [8, 200] and b [6, 201]", two, List.of(b, zeros(6, 201, Scaling.WEIGHT)));
        grouped("b[1] is [7, 200] and b[0] [6, 200]", two, List.of(b, zeros(7, 200, Scaling.WEIGHT)));
        grouped("group 1: a has granularity BLOCK_1X128 and b BLOCK_128X1", two,
                List.of(b, zeros(6, 200, COLUMNS)));
        Tensor wide = Layout.CONTIGUOUS.place(arena, DType.F32, 8, 7).view();
        illegal("d has shape [8, 7], it must be [8, 6]", () -> fp8.groupedGemm(a, two, List.of(b, b), wide));
        Tensor half = Layout.CONTIGUOUS.place(arena, DType.F16, 8, 6).view();
        illegal("d is F16", () -> fp8.groupedGemm(a, two, List.of(b, b), half));
        ScaledTensor gone = ScaledTensor.allocate(DType.F8_E4M3, 6, 200, Scaling.WEIGHT);
        gone.close();
        refused(IllegalStateException.class, "b.codes is closed",
                () -> fp8.groupedGemm(a, two, List.of(b, gone), d.view()));
    }

    @Test
    void groupsAlongK() {
        ScaledTensor x = zeros(300, 4, COLUMNS).transpose();
        ScaledTensor y = zeros(300, 3, COLUMNS).transpose();
        Tensor out = d.view().reshape(4, 4, 3);
        illegal("offsets 0 and 100 cut a block", () -> fp8.kGroupedGemm(x, y, new long[] {0, 100, 128, 256, 300}, out,
                null));
        illegal("offsets[4] is 301, there are 300 columns of a",
                () -> fp8.kGroupedGemm(x, y, new long[] {0, 128, 128, 256, 301}, out, null));
        long[] right = {0, 128, 128, 256, 300};
        illegal("d has shape [8, 6], it must be [4, 4, 3]", () -> fp8.kGroupedGemm(x, y, right, d.view(), null));
        illegal("addend has shape [8, 6], it must be [4, 4, 3]",
                () -> fp8.kGroupedGemm(x, y, right, out, d.view()));
        illegal("a has granularity BLOCK_1X128 and b BLOCK_128X128",
                () -> fp8.kGroupedGemm(x, zeros(3, 300, Scaling.WEIGHT), right, out, null));
        Tensor bf16 = Layout.CONTIGUOUS.place(arena, DType.BF16, 16, 3).view().reshape(4, 4, 3);
        illegal("d is BF16, groups along K give F32", () -> fp8.kGroupedGemm(x, y, right, bf16, null));
    }

    @Test
    void slices() {
        ScaledTensor w = zeros(300, 260, Scaling.WEIGHT);
        assertEquals(2, w.sliceRows(128, 300).scales().dim(0));
        assertEquals(1, w.sliceColumns(256, 260).scales().dim(1));
        assertEquals(0, w.sliceRows(7, 7).rows());
        illegal("rows 1 to 128 cut a block", () -> w.sliceRows(1, 128));
        illegal("rows 128 to 255 cut a block", () -> w.sliceRows(128, 255));
        illegal("columns 0 to 259 cut a block", () -> w.sliceColumns(0, 259));
        illegal("rows 0 to 150 cut a block", () -> w.split(2));
        illegal("count is 7, it must divide the 300 rows", () -> w.split(7));
        assertThrows(IndexOutOfBoundsException.class, () -> w.sliceRows(0, 301));
        assertEquals(3, zeros(9, 200, Scaling.ACTIVATION).split(3).get(2).rows());
    }
}
