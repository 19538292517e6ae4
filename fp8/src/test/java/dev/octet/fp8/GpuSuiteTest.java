package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.Optional;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Tag;

/**
 * The suites of all backends on a GPU, by way of backends {@code cuda-portable} and, on Hopper, {@code cuda-hopper}, which
 * are among those that they run on where there is a GPU.
 */
@Tag("gpu")
class GpuSuiteTest {
    @BeforeAll
    static void aGpu() {
        Optional<String> why = Fp8Backends.FOUND.unavailable(Fp8Backends.FOUND.all().stream()
                .filter(b -> b.name().equals("cuda-portable")).findFirst().orElseThrow());
        why.ifPresent(w -> System.out.println("Suites on the GPU are skipped: " + w));
        assumeTrue(why.isEmpty(), why.orElse(""));
        assertTrue(TestedBackends.names().anyMatch("cuda-portable"::equals), "the suites leave it out");
    }

    @Nested
    class Casts extends CastTest {}

    @Nested
    class Quantizers extends QuantizerTest {}

    @Nested
    class Gemms extends GemmSuiteTest {}

    @Nested
    class ExactGemms extends GemmExactTest {}

    @Nested
    class GemmAccuracy extends GemmAccuracyTest {}

    @Nested
    class GemmNan extends GemmNanTest {}

    @Nested
    class GroupedGemms extends GroupedGemmTest {}
}
