package dev.octet.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.benchmarks.suite.Counted;
import dev.octet.benchmarks.suite.Row;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class RateTableTest {
    private static String table(Row... rows) {
        StringWriter out = new StringWriter();
        RateTable.print(List.of(rows), new PrintWriter(out));
        return out.toString();
    }

    @Test
    void aLineForEachCase() {
        assertEquals("""

                                                            value             of limit  limit           x peer  peer
            gemm.fprop m=1 n=64, cpu, 1 thread               31.2  GB/s           0.78  read bandwidth    2.50  LibTorch
            startup.gemm, native, 2 threads, disturbed      0.250  s
            """,
                table(new Row("gemm.fprop", "cpu", 1, new TreeMap<>(Map.of("m", 1, "n", 64)), 31.24, "GB/s", 40,
                        "read bandwidth", 12.5, "LibTorch",
                        new Counted(9, 9, true, 1)),
                        new Row("startup.gemm", "native", 2, Map.of(), 0.25, "s", Double.NaN, null, Double.NaN, null,
                                new Counted(9, 1, true, 2))));
    }

    @Test
    void nothingForNothing() {
        assertEquals("", table());
    }
}
