package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The constants of YaRN and of the softmax's scale, as DeepSeek's inference code computes them. */
class RopeTest {
    private static final RopeConfig V3 = MlaConfig.V3.rope();

    private static RopeConfig.Yarn yarn(RopeConfig config) {
        RopeConfig.Yarn yarn = config.yarn();
        assertTrue(yarn != null);
        return yarn;
    }

    @Test
    void softmaxScales() {
        assertEquals(1.36888795, yarn(V3).softmaxFactor(), 5e-9);
        assertEquals(0.13523378f, MlaConfig.V3.softmaxScale(), 5e-9);
        assertEquals(0.13523378f, MlaConfig.V2.softmaxScale(), 5e-9);
        assertEquals(1.26080378, yarn(MlaConfig.V2_LITE.rope()).softmaxFactor(), 5e-9);
        assertEquals(0.11472139f, MlaConfig.V2_LITE.softmaxScale(), 5e-9);
        MlaConfig plain = new MlaConfig(7168, 61, 128, 1536, 512, 128, 64, 128, 1e-6f, new RopeConfig(10000, null));
        assertEquals(0.07216878f, plain.softmaxScale(), 5e-9);
    }

    @Test
    void deepSeekTurnsWithoutAFactor() {
        assertEquals(1, Rope.of(MlaConfig.V3).factor());
        assertEquals(1, Rope.of(MlaConfig.V2_LITE).factor());
        RopeConfig.Yarn onlyRotation = new RopeConfig.Yarn(40, 4096, 32, 1, 1, 0);
        assertEquals(1.36888795f, Rope.of(new RopeConfig(10000, onlyRotation), 64).factor(), 5e-8);
        assertEquals(1, onlyRotation.softmaxFactor());
        assertEquals(1, new RopeConfig.Yarn(1, 4096, 32, 1, 1, 0).rotationFactor(), "nothing is stretched");
    }

    @Test
    void theRampOfV3() {
        assertEquals(10, Rope.low(10000, yarn(V3), 64));
        assertEquals(23, Rope.high(10000, yarn(V3), 64));
        float[] f = Rope.of(MlaConfig.V3).frequencies();
        assertEquals(32, f.length);
        for (int j = 0; j < 32; j++) {
            double plain = Math.pow(10000, -j / 32.0);
            double expected = j <= 10 ? plain : j >= 23 ? plain / 40 : plain * (1 - 39 / 40.0 * (j - 10) / 13);
            assertEquals(expected, f[j], Math.ulp(f[j]) * 0.5000001, "pair " + j);
        }
        assertEquals(1, f[0]);
        assertEquals(0.056234133f, f[10]);
        assertEquals(0.0055f, f[16], "0.01 * (1 - 6 / 13 * 39 / 40)");
        assertEquals(3.3338036e-6f, f[31], 1e-12);
        assertArrayEquals(f, Rope.of(MlaConfig.V2_LITE).frequencies(), "the mscale has no part in them");
    }

    @Test
    void withoutYarnFrequenciesAreAGeometricSeries() {
        float[] f = Rope.of(new RopeConfig(10000, null), 128).frequencies();
        for (int j = 0; j < f.length; j++) {
            assertEquals((float) Math.exp(-Math.log(10000) * j / 64), f[j], Math.ulp(f[j]), "pair " + j);
        }
        assertArrayEquals(new float[] {1}, Rope.of(new RopeConfig(500000, null), 2).frequencies());
    }

    @Test
    void theRampStaysWithinTheDimensions() {
        // A short original context: both ends of the ramp are clamped to pair 0, which alone keeps its frequency.
        RopeConfig.Yarn tiny = new RopeConfig.Yarn(4, 1, 32, 1, 1, 1);
        assertEquals(0, Rope.low(10000, tiny, 8));
        assertEquals(0, Rope.high(10000, tiny, 8));
        assertArrayEquals(new float[] {1, 0.025f, 0.0025f, 0.00025f},
                Rope.of(new RopeConfig(10000, tiny), 8).frequencies());
        // A long one: all pairs turn often enough to keep theirs.
        RopeConfig.Yarn huge = new RopeConfig.Yarn(4, Integer.MAX_VALUE, 32, 1, 1, 1);
        assertEquals(7, Rope.low(10, huge, 8));
        assertEquals(7, Rope.high(10, huge, 8));
        assertArrayEquals(Rope.of(new RopeConfig(10, null), 8).frequencies(),
                Rope.of(new RopeConfig(10, huge), 8).frequencies());
    }

    @Test
    void aFactorOf1ChangesNothing() {
        RopeConfig.Yarn one = new RopeConfig.Yarn(1, 4096, 32, 1, 1, 1);
        assertArrayEquals(Rope.of(new RopeConfig(10000, null), 64).frequencies(),
                Rope.of(new RopeConfig(10000, one), 64).frequencies());
    }

    @Test
    void frequenciesAreACopy() {
        Rope rope = Rope.of(MlaConfig.V3);
        rope.frequencies()[0] = 7;
        assertEquals(1, rope.frequencies()[0]);
        assertEquals(64, rope.dim());
    }

    @ParameterizedTest
    @ValueSource(ints = {0, -2, 1, 63})
    void dimensionsAreEven(int dim) {
        assertThrows(IllegalArgumentException.class, () -> Rope.of(V3, dim));
    }

    @ParameterizedTest
    @CsvSource({"theta, 1", "theta, NaN", "theta, Infinity", "factor, 0.5", "factor, NaN", "factor, Infinity",
        "originalMaxPositions, 0", "betaFast, 0.5", "betaFast, Infinity", "betaSlow, 0", "betaSlow, NaN",
        "betaSlow, 33", "mscale, -1", "mscale, NaN", "mscaleAllDim, -1", "mscaleAllDim, Infinity"})
    void valuesOutOfRangeAreRefusedByName(String name, double value) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                () -> new RopeConfig(name.equals("theta") ? value : 10000,
                        new RopeConfig.Yarn(name.equals("factor") ? value : 40,
                                name.equals("originalMaxPositions") ? (int) value : 4096,
                                name.equals("betaFast") ? value : 32, name.equals("betaSlow") ? value : 1,
                                name.equals("mscale") ? value : 1, name.equals("mscaleAllDim") ? value : 1)));
        assertTrue(String.valueOf(e.getMessage()).contains(name + " "), e::getMessage);
    }
}
