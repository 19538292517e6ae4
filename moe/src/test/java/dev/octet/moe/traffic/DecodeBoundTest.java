package dev.octet.moe.traffic;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class DecodeBoundTest {
    @Test
    void thePapersFigures() {
        DecodeBound ib = DecodeBound.INFINIBAND;
        assertEquals(120.96e-6, ib.microBatchSeconds(), 1e-15);
        assertEquals(241.92e-6, ib.layerSeconds(), 1e-15);
        assertEquals(14.757e-3, ib.tokenSeconds(), 0.5e-6);
        assertEquals(67.76, ib.tokensPerSecond(), 0.005);
        DecodeBound nvl = DecodeBound.NVL72;
        assertEquals(6.72e-6, nvl.microBatchSeconds(), 1e-16);
        assertEquals(0.820e-3, nvl.tokenSeconds(), 0.5e-6);
        assertEquals(1220, nvl.tokensPerSecond(), 0.5);
    }

    @Test
    void theModelsOwnWidth() {
        DecodeBound own = DecodeBound.INFINIBAND.withHidden(7168);
        assertEquals(123.86e-6, own.microBatchSeconds(), 0.005e-6);
        assertEquals(15.11e-3, own.tokenSeconds(), 0.005e-3);
        assertEquals(66.2, own.tokensPerSecond(), 0.05);
        assertEquals(own, DecodeBound.NVL72.withHidden(7168).withBytesPerSecond(50e9));
    }

    @Test
    void onlyPositiveNumbers() {
        assertTrue(assertThrows(IllegalArgumentException.class, () -> DecodeBound.NVL72.withHidden(0)).getMessage()
                .startsWith("hidden is 0"));
        for (double bad : new double[] {0, -1, Double.NaN, Double.POSITIVE_INFINITY}) {
            assertThrows(IllegalArgumentException.class, () -> DecodeBound.NVL72.withBytesPerSecond(bad));
        }
    }
}
