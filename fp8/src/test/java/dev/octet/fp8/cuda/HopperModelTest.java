package dev.octet.fp8.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.fp8.cuda.HopperModel.Choice;
import dev.octet.fp8.cuda.HopperModel.Gpu;
import dev.octet.fp8.cuda.HopperModel.Work;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;

/** What the model chooses and predicts, against the times that DeepGEMM's page gives for an H800 (April 2025). */
class HopperModelTest {
    /** M, N, K, microseconds: from the TFLOP/s of DeepGEMM's table. */
    private static final double[][] DEEP_GEMM_H800 = {
        {64, 2112, 7168, 9.4}, {64, 24576, 1536, 16.7}, {64, 32768, 512, 9.8}, {64, 7168, 16384, 44.7},
        {64, 4096, 7168, 13.1}, {64, 7168, 2048, 6.4}, {128, 2112, 7168, 11.0}, {128, 24576, 1536, 18.1},
        {128, 32768, 512, 12.0}, {128, 7168, 16384, 46.6}, {128, 4096, 7168, 14.1}, {128, 7168, 2048, 7.4},
        {4096, 2112, 7168, 110.0}, {4096, 24576, 1536, 255.1}, {4096, 32768, 512, 177.3}, {4096, 7168, 16384, 632.9},
        {4096, 4096, 7168, 170.6}, {4096, 7168, 2048, 103.0}};

    private static Work work(double[] row) {
        return Work.dense((long) row[0], (int) row[1], (int) row[2]);
    }

    @Test
    void predictionsAreOfTheRightSize() {
        StringBuilder table = new StringBuilder();
        for (double[] row : DEEP_GEMM_H800) {
            Work w = work(row);
            Choice h800 = HopperModel.choose(w, Gpu.H800);
            Choice h200 = HopperModel.choose(w, Gpu.H200);
            table.append(String.format(Locale.ROOT, "| %.0f | %.0f | %.0f | %.1f | %.1f | %.1f | %.0f | %s%s | %s |%n",
                    row[0], row[1], row[2], row[3], h800.micros(), h200.micros(), w.flop() / h200.micros() / 1e6,
                    h200.variant(), h200.parts() > 1 ? " in " + h200.parts() : "", h200.limit()));
            double ratio = h800.micros() / row[3];
            assertTrue(ratio > 0.6 && ratio < 1.3, table + "predicted " + ratio + " of what DeepGEMM measured");
            assertTrue(h200.micros() >= w.bytes() / Gpu.H200.memory(), "faster than memory");
        }
        System.out.print(table);
    }

    @Test
    void everyTileIsLaunchedOnce() {
        for (double[] row : DEEP_GEMM_H800) {
            for (Choice c : HopperModel.candidates(work(row), Gpu.H200)) {
                HopperVariant v = c.variant();
                long tokens = (long) Math.ceil(row[0] / v.tokenSpan()) * v.tokenSpan();
                long channels = (long) Math.ceil(row[1] / v.channelSpan()) * v.channelSpan();
                assertEquals(tokens * channels, HopperModel.tiles(v, work(row)) * v.tokenSpan() * v.channelSpan());
                assertTrue(c.grid() <= Gpu.H200.multiprocessors() && c.grid() % c.clusterBlocks() == 0, c.toString());
                assertTrue(v.sharedBytes() <= HopperVariant.SHARED_LIMIT && v.stages() >= 3, v.toString());
                if (v.split()) {
                    assertEquals(HopperModel.tiles(v, work(row)) * c.parts(), c.grid());
                    assertTrue(c.parts() <= 8 && c.parts() * 128 <= row[2], c.toString());
                }
            }
        }
    }

    @Test
    void fewTokensSwapOperands() {
        for (double[] row : DEEP_GEMM_H800) {
            HopperVariant v = HopperModel.choose(work(row), Gpu.H200).variant();
            if (row[0] != 128) { // there both ways are near each other
                assertEquals(row[0] == 64, v.swapped(), () -> row[0] + " " + row[1] + " " + v);
            }
        }
        assertTrue(HopperModel.choose(Work.dense(1, 7168, 16384), Gpu.H200).parts() > 1);
    }

    @Test
    void groupsWithoutTokensCostNothing() {
        long[] rows = new long[256];
        rows[3] = 100;
        Work w = new Work(rows, 4096, 7168, true, false, false, false, HopperVariant.Out.BF16, false);
        assertEquals(HopperModel.tiles(HopperModel.choose(w, Gpu.H200).variant(), w),
                HopperModel.tiles(HopperModel.choose(w, Gpu.H200).variant(), Work.dense(100, 4096, 7168)));
        assertEquals(1.0 * 100 * 7168 * (1 + 1 / 32.0) + 4096.0 * 7168 + 100 * 4096 * 2, w.bytes());
    }

    @Test
    void usualVariantsAreFew() {
        List<HopperVariant> usual = HopperModel.usual();
        assertTrue(usual.size() >= 4 && usual.size() <= 16, usual.toString());
    }
}
