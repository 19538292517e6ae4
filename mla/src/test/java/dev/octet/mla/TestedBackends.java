package dev.octet.mla;

import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.octet.core.spi.BackendsUnderTest;
import dev.octet.mla.ffm.NativeBackend;
import dev.octet.mla.reference.AttentionError.Products;
import dev.octet.mla.spi.MlaBackend;
import java.util.List;
import java.util.stream.Stream;

/** Which backends a suite runs on. */
public final class TestedBackends {
    private TestedBackends() {}

    /** {@return the names, for a method source} */
    public static Stream<String> names() {
        assumeFalse(NativeBackend.lacksKernels() && "native".equals(System.getProperty("octet.test.require")),
                "decode has no kernels for the instruction sets of this processor");
        return BackendsUnderTest.names(MlaBackends.FOUND);
    }

    /** {@return what decode multiplies on the least precise of them} */
    static Products decodeProducts() {
        boolean splits = names().anyMatch("native"::equals) && NativeBackend.splitsOperands();
        return splits ? Products.SPLIT_BF16 : Products.FP32;
    }

    /** {@return the backends themselves, which take a cache's pages as they are} */
    static List<MlaBackend> all() {
        return names().map(MlaBackends.FOUND::named).toList();
    }
}
