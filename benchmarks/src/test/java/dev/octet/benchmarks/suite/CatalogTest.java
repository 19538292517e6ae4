package dev.octet.benchmarks.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.benchmarks.suite.Catalog.NK;
import java.util.HashSet;
import java.util.List;
import org.junit.jupiter.api.Test;

class CatalogTest {
    @Test
    void theFullCatalogHasEveryShapeWithEveryMAndOneShapeOnOneThread() {
        List<Case> cases = new Catalog("cpu", List.of(1, 2), Catalog.SHAPES, Catalog.ROWS, false).cases();
        for (NK s : List.of(new NK(2112, 7168), new NK(576, 7168), new NK(24576, 1536), new NK(7168, 16384),
                new NK(4096, 7168), new NK(7168, 2048))) {
            for (long m : List.of(1L, 4L, 16L, 64L, 128L, 512L, 1024L)) {
                assertTrue(cases.contains(fprop(2, m, s)), () -> s + " " + m);
                assertEquals(m >= 128 && s.n() == 2112, cases.contains(fprop(1, m, s)), () -> s + " on one thread, " + m);
            }
        }
        assertEquals(cases.size(), new HashSet<>(cases).size());
    }

    @Test
    void theFullCatalogDecodesWithBothModelsInBothFormats() {
        List<Case> cases = new Catalog("cpu", List.of(1, 2), Catalog.SHAPES, Catalog.ROWS, false).cases();
        for (int heads : new int[] {128, 16}) {
            for (int batch : new int[] {1, 8}) {
                for (int context : new int[] {1024, 8192, 32768}) {
                    for (String cache : new String[] {"BF16", "FP8"}) {
                        Case c = Case.of("MlaBenchmark.decode", "backend", "cpu", "threads", 2, "heads", heads, "batch",
                                batch, "context", context, "cache", cache);
                        assertTrue(cases.contains(c), c::toString);
                        boolean peer = batch == 1 && context == 8192 && cache.equals("BF16");
                        assertEquals(peer ? 3 : 0, Limits.peers(c).size(), c::toString);
                    }
                }
            }
        }
        assertTrue(cases.contains(Case.of("MlaBenchmark.prefill", "backend", "cpu", "threads", 2, "heads", 16, "tokens",
                512, "dtype", "F32")));
        assertTrue(cases.contains(Case.of("MlaBenchmark.compress", "backend", "cpu", "threads", 2, "n", 2112, "k",
                7168)));
    }

    private static Case fprop(int threads, long m, NK s) {
        return Case.of("GemmBenchmark.fprop", "backend", "cpu", "threads", threads, "m", m, "n", s.n(), "k", s.k());
    }

    @Test
    void aQuickRunHasEveryKindOfCaseAndStaysSmall() {
        Catalog quick = new Catalog("cpu", List.of(1, 2), Catalog.QUICK_SHAPES, Catalog.QUICK_ROWS, true);
        assertTrue(quick.names().containsAll(List.of("gemm.fprop", "gemm.dgrad", "gemm.wgrad", "gemm.row",
                "gemm.tensor",
                "quantize.1x128", "quantize.128x128", "dequantize.1x128", "cast.e4m3", "startup.gemm",
                "moe.layer", "moe.router", "mla.decode", "mla.prefill", "mla.compress", "mla.absorb", "moe.gate",
                "gemm.grouped", "moe.permute", "moe.reduce")),
                () -> quick.names().toString());
        assertTrue(quick.cases().size() < 50, () -> quick.cases().size() + " cases");
    }

    @Test
    void backendNativeIsMeasuredWhereItHasKernels() {
        Catalog c = new Catalog("native", List.of(1, 2), Catalog.SHAPES, Catalog.ROWS, false);
        assertTrue(c.names().containsAll(List.of("gemm.fprop", "gemm.wgrad", "gemm.grouped", "quantize.1x128",
                "mla.decode", "mla.prefill", "mla.compress", "mla.absorb", "moe.layer", "moe.router", "moe.permute",
                "moe.reduce", "startup.gemm", "downcall.ordinary", "downcall.critical", "cast.e4m3",
                "dequantize.1x128", "small.gemm", "small.quantize", "small.dequantize", "small.cast")),
                () -> c.names().toString());
        assertFalse(c.names().contains("moe.gate"));
    }

    @Test
    void whatStandsBesideACaseIsNoCase() {
        for (String backend : List.of("cpu", "native")) {
            for (Case c : new Catalog(backend, List.of(1, 2), Catalog.SHAPES, Catalog.ROWS, false).cases()) {
                assertTrue(c.isOctet(), c::toString);
                Limits.peers(c).forEach(p -> assertFalse(p.isOctet(), p::toString));
                Limits.probes(c).forEach(p -> assertFalse(p.isOctet(), p::toString));
            }
        }
    }
}
