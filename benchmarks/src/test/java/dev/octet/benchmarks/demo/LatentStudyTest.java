package dev.octet.benchmarks.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.benchmarks.demo.LatentStudy.Curve;
import dev.octet.benchmarks.demo.LatentStudy.Method;
import dev.octet.core.DType;
import dev.octet.core.cpu.CpuPool;
import dev.octet.mla.factor.FactorOptions;
import dev.octet.mla.factor.LatentError;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The curve on the real model's weights and activations. */
class LatentStudyTest {
    private static final int[] RANKS = {32, 96, 160, 256, 384};

    private static LatentStudy study;

    @BeforeAll
    static void measure() throws Exception {
        try (MiniLm model = MiniLm.load()) {
            study = LatentStudy.run(model, MiniLm.tokenizer(), Sentences.forLatents(), null, RANKS, DType.F32,
                    FactorOptions.DEFAULT, CpuPool.shared(), what -> { });
        }
    }

    @Test
    void theLargestRankLosesRoundingOnly() {
        for (Map.Entry<Method, Curve> m : study.curves().entrySet()) {
            Curve c = m.getValue();
            for (int l = 0; l < 6; l++) {
                LatentError e = c.layers().get(l).getLast();
                assertEquals(384, e.rank());
                assertTrue(e.weights().relative() < 1e-10, m.getKey() + ", layer " + l + ": " + e);
                assertTrue(e.output().relative() < 3e-6, m.getKey() + ", layer " + l + ": " + e);
                assertTrue(e.keys().relative() < 1e-6 && e.values().relative() < 1e-6, m.getKey() + " " + l + ": " + e);
            }
            assertTrue(c.leastCosine()[RANKS.length - 1] > 1 - 1e-6, "the encoder through latents is the encoder");
        }
        assertTrue(study.uncompressed().relative() < 1e-6);
    }

    @Test
    void errorsFallWithTheRank() {
        for (Curve c : study.curves().values()) {
            for (List<LatentError> layer : c.layers()) {
                for (int r = 1; r < RANKS.length; r++) {
                    assertTrue(layer.get(r).output().relative() < layer.get(r - 1).output().relative());
                    assertTrue(layer.get(r).weights().relative() < layer.get(r - 1).weights().relative());
                }
            }
            for (int r = 1; r < RANKS.length; r++) {
                assertTrue(c.meanCosine()[r] > c.meanCosine()[r - 1]);
            }
        }
    }

    @Test
    void knowingTheActivationsHelpsOnSentencesThatWereNotSeen() {
        Curve free = study.curves().get(Method.DATA_FREE);
        Curve aware = study.curves().get(Method.ACTIVATION_AWARE);
        for (int r = 0; r < RANKS.length - 1; r++) {
            for (int l = 0; l < 6; l++) {
                assertTrue(aware.layers().get(l).get(r).output().relative()
                        < free.layers().get(l).get(r).output().relative(), "layer " + l + ", rank " + RANKS[r]);
            }
            assertTrue(aware.total().get(r).weights().relative() > free.total().get(r).weights().relative());
            assertTrue(aware.meanCosine()[r] > free.meanCosine()[r]);
        }
        assertTrue(aware.total().get(1).output().relative() < 0.6 * free.total().get(1).output().relative());
        assertTrue(aware.meanCosine()[3] > 0.99, "a third of the memory and little lost: " + aware.meanCosine()[3]);
    }

    @Test
    void theSplitIsFixed() {
        assertEquals(new LatentStudy.Sample(72, 1319), study.calibration());
        assertEquals(new LatentStudy.Sample(36, 644), study.heldOut());
        assertEquals(6 * 768 * 4, study.curves().get(Method.DATA_FREE).total().getFirst().uncompressedBytesPerToken());
    }
}
